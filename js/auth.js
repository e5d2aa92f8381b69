/*
 * SmtpServer, its part about AUTH (RFC 4954): asking the client while a handler runs, names and passwords out of what it
 * says. Loaded for policies that have smtpAuth.
 */
(function (host, global) {
    'use strict';

    var SmtpServer = global.SmtpServer, mechanism = '', said = [];

    /**
     * Sends the client a challenge (334) and waits for its answer; only in smtpAuth.
     * @param {string} text  base64, as a next hop gives it; '' for none
     * @returns {string} the client's line in base64; "*" when it has given up, whatever the handler returns then
     * @throws {Error} outside smtpAuth, or for a text that is no base64
     */
    SmtpServer.prototype.challenge = function (text) {
        var line = host.wait(['session.challenge', text === undefined || text === null ? '' : String(text)]);
        said[said.length] = line;
        return line;
    };

    /**
     * Name and password, for a policy that decides by itself: asks what is still to be asked. Mechanisms PLAIN (RFC 4616)
     * and LOGIN.
     * @param {string} name  the mechanism, as smtpAuth got it
     * @param {?string} initialResponse  likewise
     * @returns {?{user: string, password: string, authzid: string}} null: the client has given up, or what it says is
     *     not of the mechanism; authzid is whom it wants to act for, '' for itself
     */
    SmtpServer.prototype.credentials = function (name, initialResponse) {
        var line = initialResponse, user, parts;
        if (name === 'PLAIN') {
            line = decoded(line === null ? this.challenge('') : line);
            parts = line === null ? [] : line.split('\0');
            return parts.length === 3 ? {user: parts[1], password: parts[2], authzid: parts[0]} : null;
        }
        if (name !== 'LOGIN') {
            return null;
        }
        user = decoded(line === null ? this.challenge('VXNlcm5hbWU6') : line);
        if (user === null) {
            return null;
        }
        line = decoded(this.challenge('UGFzc3dvcmQ6'));
        return line === null ? null : {user: user, password: line, authzid: ''};
    };

    /* What a client has said; null for what is none: it has given up. */
    function decoded(line) {
        return line === '=' ? '' : host.now('text.decode', line);
    }

    /** For the engine: an exchange begins. */
    host.authBegins = function (name, initialResponse) {
        mechanism = name;
        said = initialResponse === null ? [] : [initialResponse];
    };

    /** For the engine: the client has given up, so that nothing the handler returns is a success. */
    host.authGivenUp = function () {
        return said[said.length - 1] === '*';
    };

    /**
     * For the engine: who the client says it is, as far as its mechanism tells that; '' when it does not. The name counts only
     * where the exchange went as the mechanism has it: a server that ignores an initial response would have been told another.
     */
    host.authClaims = function () {
        var lines = said.map(decoded), count = lines.length, first = lines[0] || '', found = null;
        if (mechanism === 'PLAIN' && count === 1) {
            found = first.split('\0');
        } else if (mechanism === 'LOGIN' && count === 2) {
            found = [null, first];
        } else if (mechanism === 'CRAM-MD5' && count === 1) {
            found = /^([^]*) [0-9a-f]{32}$/i.exec(first);
        } else if (mechanism === 'XOAUTH2' && count === 1) {
            found = /^user=([^\x01]*)\x01/.exec(first);
        } else if (mechanism === 'OAUTHBEARER' && count === 1) {
            found = /^n,a=([^,]*),/.exec(first);
        } else if (/^SCRAM-/.test(mechanism) && /^c=/.test(lines[1] || '') && (count === 2 || count === 3 && lines[2] === '')) {
            found = /^[^,]*,[^,]*,n=([^,]*),/.exec(first);
        }
        if (!found || !found[1]) {
            return '';
        }
        return /^(OAUTH|SCRAM)/.test(mechanism) ? found[1].split('=2C').join(',').split('=3D').join('=') : found[1];
    };
}(this.host, this));
