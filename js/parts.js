/*
 * What is in a body: its text, its MIME parts (RFC 2045, 2046), attachments, links; and changing parts of it.
 *
 * The program finds the parts once and keeps them; here is what a policy holds on to. Contents are decoded when somebody asks.
 */
(function (host, global) {
    'use strict';

    var Body = host.SmtpBody, PARTS = Symbol('parts'), TEXT = 1048576, PIECE = 32768, OVERLAP = 1000;

    function limitOf(limit) {
        return limit === undefined || limit === null ? TEXT : Math.max(0, Math.floor(limit));
    }

    /**
     * The body as text, as it stands: nothing is decoded.
     * @param {number} [limit=1048576]  octets
     * @returns {string}
     */
    Body.prototype.text = function (limit) {
        var text = '', at = 0, piece;
        limit = Math.min(limitOf(limit), this.length);
        while (at < limit) {
            piece = Math.min(TEXT, limit - at);
            text += this.read(at, piece);
            at += piece;
        }
        return text;
    };

    /** The lines of text(limit), without their ends. @returns {string[]} */
    Body.prototype.lines = function (limit) {
        var lines = this.text(limit).split(/\r?\n/);
        if (lines[lines.length - 1] === '') {
            lines.length--;
        }
        return lines;
    };

    /**
     * One part of a message; the message itself is the first one. Made by parts().
     */
    function SmtpPart(body, number, row, parts) {
        this.number = number;
        this.path = row[0];
        this.parent = row[1] < 0 ? null : parts[row[1]];
        this.type = row[2];
        this.charset = row[3];
        this.encoding = row[4];
        this.disposition = row[5];
        this.name = row[6];
        this.id = row[7];
        this.length = row[8];
        this.leaf = row[9];
        this.attachment = row[10];
        host.define(this, 'body', body);
        host.define(this, 'change', null);
    }

    /* What its file is called behind the last dot, as the reader's system takes it: blanks and dots at the end do not count. */
    Object.defineProperty(SmtpPart.prototype, 'extension', {
        get: function () {
            var found = /\.([^.\/\\]*)$/.exec(String(this.name === null ? '' : this.name).replace(/[\s.]+$/, ''));
            return found === null ? '' : found[1].toLowerCase();
        },
        configurable: true
    });

    /** Its own header. Of the message itself an empty array: that header is smtpData's. @returns {SmtpHeader[]} */
    SmtpPart.prototype.headers = function () {
        var list = host.now('mime.headers', host.bodyReference(this.body), this.number), headers = [], i;
        for (i = 0; i < list.length; i += 2) {
            headers[i >> 1] = new global.SmtpHeader(list[i], list[i + 1]);
        }
        return headers;
    };

    /** Octets of its decoded content, as SmtpBody.read gives them. Waits. */
    SmtpPart.prototype.read = function (offset, count) {
        return host.wait(['mime.read', host.bodyReference(this.body), this.number, offset === undefined ? 0 : Math.floor(offset),
            count === undefined ? TEXT : Math.floor(count)]);
    };

    /* Calls visit(text) with each piece of a part's text until it gives something that is not undefined. */
    function eachPiece(part, size, visit) {
        var handle = host.bodyReference(part.body), cursor = 0, answer, result;
        do {
            answer = host.wait(['mime.text', handle, part.number, cursor, size]);
            cursor = answer[1];
            result = visit(answer[0]);
        } while (result === undefined && cursor !== 0);
        if (cursor !== 0) {
            host.now('mime.forget', handle, cursor);
        }
        return result;
    }

    /**
     * Its content as text: transfer encoding and character set decoded. Waits.
     * @param {number} [limit=1048576]  characters
     */
    SmtpPart.prototype.text = function (limit) {
        var text = '';
        limit = limitOf(limit);
        if (limit > 0) {
            eachPiece(this, limit, function (piece) {
                text += piece;
                return text.length >= limit ? true : undefined;
            });
        }
        return text;
    };

    /** The media type that its content begins like, whatever it is called; null when that is not known. */
    SmtpPart.prototype.magic = function () {
        return host.now('mime.magic', host.bodyReference(this.body), this.number);
    };

    /**
     * Looks for a pattern in its text, piece by piece, so that each piece has a slice of time to itself. A match that is longer
     * than 1000 characters may not be found. Waits.
     * @param {RegExp} pattern
     * @returns {?string[]} as pattern.exec() gives it; null without a match
     */
    SmtpPart.prototype.search = function (pattern) {
        var before = '', found;
        if (!(pattern instanceof RegExp)) {
            throw new TypeError('search: a regular expression is needed');
        }
        found = eachPiece(this, PIECE, function (piece) {
            var text = before + piece, match;
            pattern.lastIndex = 0;
            match = pattern.exec(text);
            before = text.substring(text.length - OVERLAP);
            return match === null ? undefined : match;
        });
        return found === undefined ? null : found;
    };

    /**
     * Marks it to get another content, by edited().
     * @param {string} content
     * @param {object} [options]  type: the new media type; name: the new file name
     */
    SmtpPart.prototype.replace = function (content, options) {
        options = options || {};
        this.change = [this.number, String(content), options.type === undefined ? null : String(options.type),
            options.name === undefined ? null : String(options.name)];
    };

    /** Marks it to be taken away, by edited(). */
    SmtpPart.prototype.remove = function () {
        this.change = [this.number, null, null, null];
    };

    /**
     * The parts, in the order in which they begin; the message itself is the first. Waits. The second call gives the same ones.
     * The array has a property `problems`: what is odd about them, in words.
     * @param {SmtpHeader[]} [headers]  the header that tells how the body is made, where it is not the one that came
     * @returns {SmtpPart[]}
     */
    Body.prototype.parts = function (headers) {
        var lines = null, answer, parts = [], i;
        if (headers !== undefined && headers !== null) {
            lines = headers.map(String);
        } else if (this[PARTS] !== undefined) {
            return this[PARTS];
        }
        answer = host.wait(['mime.parts', host.bodyReference(this), lines]);
        for (i = 0; i < answer[0].length; i++) {
            parts[i] = new SmtpPart(this, i, answer[0][i], parts);
        }
        host.define(parts, 'problems', answer[1]);
        host.define(this, PARTS, parts);
        return parts;
    };

    /** The parts that are files rather than something to be read. Waits. @returns {SmtpPart[]} */
    Body.prototype.attachments = function () {
        return this.parts().filter(function (part) { return part.attachment; });
    };

    /**
     * The links in its text parts, as they are written. Waits.
     * @param {number} [limit=100]
     * @returns {string[]}
     */
    Body.prototype.links = function (limit) {
        this.parts();
        return host.wait(['mime.links', host.bodyReference(this), limit === undefined ? 100 : Math.floor(limit)]);
    };

    /**
     * Looks for a pattern in the text parts, as SmtpPart.search does. Waits.
     * @param {RegExp} pattern
     * @returns {?{part: SmtpPart, match: string[]}} the first match
     */
    Body.prototype.search = function (pattern) {
        var parts = this.parts(), i, match;
        for (i = 0; i < parts.length; i++) {
            match = parts[i].leaf && /^text\//.test(parts[i].type) ? parts[i].search(pattern) : null;
            if (match !== null) {
                return {part: parts[i], match: match};
            }
        }
        return null;
    };

    /**
     * A body in which the parts that replace() and remove() have marked are changed, and all else is as it came. Waits.
     * @param {SmtpHeader[]} headers  those of the message; of one that has no parts, the fields about its content are changed
     * @returns {SmtpBody}
     */
    Body.prototype.edited = function (headers) {
        var changes = [], answer, gone, i;
        this.parts().forEach(function (part) {
            if (part.change !== null) {
                changes.push(part.change);
            }
        });
        if (changes.length === 0) {
            return this;
        }
        if (!Array.isArray(headers)) {
            throw new TypeError('edited: the headers of the message are needed');
        }
        answer = host.wait(['mime.edit', host.bodyReference(this), changes]);
        gone = answer[3];
        for (i = headers.length - 1; i >= 0 && gone.length; i--) {
            if (gone.indexOf(String(headers[i].name).toLowerCase()) >= 0) {
                headers.splice(i, 1);
            }
        }
        if (answer[2].length && !headers.some(function (header) { return /^mime-version\s*$/i.test(header.name); })) {
            headers.push(new global.SmtpHeader('MIME-Version', '1.0'));
        }
        for (i = 0; i < answer[2].length; i += 2) {
            headers.push(new global.SmtpHeader(answer[2][i], answer[2][i + 1]));
        }
        return new Body(answer[0], answer[1]);
    };

    /** The value as it is meant to be read: in one line, encoded words (RFC 2047) decoded. @returns {string} */
    global.SmtpHeader.prototype.decoded = function () {
        return host.now('header.decode', this.getValue());
    };
}(this.host, this));
