/*
 * SmtpHeader: one header field of a message (RFC 5322 §2.2).
 *
 * A field that came with the message remembers its place there. When it goes out unchanged, the program
 * sends the very bytes that came in; when a policy has changed it, it is written anew from name and parts.
 */
(function (host, global) {
    'use strict';

    var PLACE = Symbol('place in the message');

    /**
     * @param {string} name
     * @param {string|string[]} [value]  an array becomes the parts themselves (the same array)
     * @property {string} name   "" for a line of the header section that is no header field
     * @property {string[]} parts  the value line by line as it is folded; parts[0] without leading blanks
     */
    function SmtpHeader(name, value) {
        if (arguments.length === 0) {
            throw new Error('Invalid argument: a header needs a name');
        }
        this.name = String(name);
        if (arguments.length < 2) {
            this.parts = [];
        } else if (value !== null && typeof value === 'object') {
            this.parts = value;
        } else {
            this.parts = [String(value)];
        }
    }

    /** @returns {string} the parts, each without leading blanks, joined by one space; "" when there is none */
    SmtpHeader.prototype.getValue = function () {
        var text = '', i;
        for (i = 0; i < this.parts.length; i++) {
            text += (i ? ' ' : '') + String(this.parts[i]).replace(/^[ \t]+/, '');
        }
        return text;
    };

    /** @returns {string} the field as text: name, ": ", the parts joined by CR LF; no CR LF at the end */
    SmtpHeader.prototype.toString = function () {
        var parts = this.parts, text, i;
        if (parts.length === 1) {
            return this.name + ': ' + parts[0];
        }
        text = this.name + ': ';
        for (i = 0; i < parts.length; i++) {
            text += (i ? '\r\n' : '') + parts[i];
        }
        return text;
    };

    /**
     * Folds the value anew so that no line is longer than `width` where a blank allows it. Continuation
     * parts begin with a tab, which counts as one.
     * @param {number} [width=78]  characters of a line, without CR LF (RFC 5322 §2.1.1)
     */
    SmtpHeader.prototype.refold = function (width) {
        var words = this.getValue().split(/[ \t]+/), parts = [], line = '', room, i;
        width = width === undefined ? 78 : Number(width);
        if (!(width >= 1)) {
            throw new RangeError('Invalid argument: refold needs a width of at least 1');
        }
        room = width - this.name.length - 2;
        for (i = 0; i < words.length; i++) {
            if (words[i] === '') {          /* blanks at an end: a line of nothing else would be obsolete syntax */
                continue;
            }
            if (line !== '' && line !== '\t' && line.length + 1 + words[i].length > room) {
                parts.push(line);
                line = '\t' + words[i];
                room = width;
            } else {
                line += (line === '' || line === '\t' ? '' : ' ') + words[i];
            }
        }
        parts.push(line);
        this.parts = parts;
    };

    /* A field that came with the message; a constructor as quick as can be. */
    function Arrived(name, parts, place) {
        this.name = name;
        this.parts = parts;
        this[PLACE] = place;
    }
    Arrived.prototype = SmtpHeader.prototype;

    /* Whether nobody has put another class in the place of ours. */
    function isOurs() {
        return global.SmtpHeader === SmtpHeader && SmtpHeader.prototype === Arrived.prototype;
    }

    host.know('place', PLACE);
    host.know('SmtpHeader', SmtpHeader);
    host.know('SmtpHeader.prototype', SmtpHeader.prototype);

    /**
     * For the engine: the SmtpHeader array of a message from [name, parts, name, parts, …]. The program makes it itself
     * (duk_library.c) unless a policy has put another class in the place of ours.
     */
    host.makeHeaders = function (list) {
        var headers = [], n = list.length >> 1, i, header;
        for (i = 0; i < n; i++) {
            header = new global.SmtpHeader(list[2 * i], list[2 * i + 1]);
            header[PLACE] = i;
            headers[i] = header;
        }
        return headers;
    };

    /** For the library: a header of these parts. */
    host.newHeader = function (name, parts) {
        return isOurs() ? new Arrived(name, parts, -1) : new global.SmtpHeader(name, parts);
    };

    /** smtpData(null, null) says that there is no message: passing that on would make an empty one. */
    host.needMessage = function (method, headers, body) {
        if ((headers === null || headers === undefined) && (body === null || body === undefined)) {
            throw new TypeError(method + ': there is no message; smtpData is called with null, null when it was given up');
        }
    };

    /* The text of headers[i] as it goes out. */
    function written(header, i) {
        if (header === null || header === undefined) {
            throw new TypeError('headers[' + i + '] is ' + header + '; it must be an SmtpHeader or a text');
        }
        if (typeof header.name === 'string' && header.name.indexOf(':') >= 0) {
            throw new TypeError('headers[' + i + "] has a colon in its name: '" + header.name + "'");
        }
        return String(header);
    }

    /* What goes to the program for headers that are no array, but like one; see below. */
    function likeArray(headers) {
        var list = [], i, header, place;
        if (headers === null || headers === undefined) {
            return list;
        }
        for (i = 0; i < headers.length; i++) {
            header = headers[i];
            list[2 * i + 1] = written(header, i);
            place = header[PLACE];
            list[2 * i] = place === undefined ? -1 : place;
        }
        return list;
    }

    /**
     * What goes to the program for the headers of an outgoing message: [place or -1, text, …]. The text is null for a field
     * that is as it came, which is most of them: they are not written anew. An array is looked at in C.
     */
    host.outgoingHeaders = host.outgoing;
    host.know('written', written);
    host.know('outgoing', likeArray);
    host.know('SmtpHeader.prototype.toString', SmtpHeader.prototype.toString);

    global.SmtpHeader = SmtpHeader;
}(this.host, this));
