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
        var line = host.wait('session.challenge', text === undefined || text === null ? '' : String(text));
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

    /** For the engine: who the client says it is, as far as its mechanism tells that; '' when it does not. */
    host.authClaims = function () {
        var lines = said.map(decoded).filter(function (line) { return line !== null; }), first = lines[0] || '', found;
        if (mechanism === 'PLAIN') {
            found = [null, first.split('\0')[1]];
        } else if (mechanism === 'LOGIN') {
            found = [null, first];
        } else if (mechanism === 'CRAM-MD5') {
            found = /^(.*) [^ ]*$/.exec(first);
        } else if (mechanism === 'XOAUTH2') {
            found = /^user=([^\x01]*)/.exec(first);
        } else if (mechanism === 'OAUTHBEARER') {
            found = /^n,a=([^,]*),/.exec(first);
        } else if (/^SCRAM-/.test(mechanism)) {
            found = /^[^,]*,[^,]*,(?:m=[^,]*,)?n=([^,]*)/.exec(first);
        }
        return found && found[1] ? found[1].split('=2C').join(',').split('=3D').join('=') : '';
    };
}(this.host, this));
