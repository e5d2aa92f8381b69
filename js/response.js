/*
 * SmtpResponse: what a handler returns and what SmtpClient.readResponse() gives; a reply of RFC 5321 §4.2.
 */
(function (host, global) {
    'use strict';

    /**
     * @param {number} code  reply code, 200 to 599
     * @param {string|string[]} message  the text; an array, or line feeds in it, give several lines
     * @param {boolean} [disconnect=false]  close the connection after this reply (only a real true counts)
     */
    var SmtpResponse = host.SmtpResponse;           // written in C: every reply is one

    SmtpResponse.prototype = {};
    host.own(SmtpResponse.prototype, 'constructor', SmtpResponse, 5);
    Object.defineProperty(SmtpResponse, 'length', {value: 3});
    Object.defineProperty(SmtpResponse, 'name', {value: 'SmtpResponse'});

    var RECEIVED = Symbol('from a next hop');

    /** For SmtpClient: marks a reply that came from a next hop, which may be without text (a bare "250"). */
    host.RECEIVED = RECEIVED;
    host.know('received', RECEIVED);
    host.know('SmtpResponse', SmtpResponse);

    function noText(value, message) {
        return message === undefined || message === null || message === '' ||
            (Array.isArray(message) && (message.length === 0 || (message.length === 1 && message[0] === '' && !value[RECEIVED])));
    }

    function wrong(handler, what) {
        return new TypeError(handler + ' ' + what + '; a handler returns new SmtpResponse(code, text)');
    }

    /**
     * For the engine: checks what a handler returned and takes it apart.
     * @returns {Array} [code, disconnect, line, …]
     * @throws {TypeError} that says what is wrong with it
     */
    host.takeResponse = function (handler, value) {
        var result, code, message, line, lines, i, k;
        if (value === null || (typeof value !== 'object' && typeof value !== 'function')) {
            throw wrong(handler, 'returned ' + (typeof value === 'string' ? 'a string' : String(value)));
        }
        code = value.code;
        message = value.message;
        if (typeof code !== 'number') {
            throw wrong(handler, 'returned an object without a numeric code');
        }
        if (!(code >= 200 && code <= 599) || Math.floor(code) !== code) {
            throw wrong(handler, 'returned the code ' + code + ', which is none of 200 to 599');
        }
        if (noText(value, message)) {
            throw wrong(handler, 'returned a response without a message');
        }
        result = [code, !!value.disconnect];
        if (!Array.isArray(message)) {
            message = [message];
        }
        for (i = 0; i < message.length; i++) {
            line = String(message[i]);
            if (line.indexOf('\n') < 0) {          // nearly always: a regular expression costs ten times more
                result[result.length] = line;
                continue;
            }
            lines = line.split(/\r\n|\n/);
            for (k = 0; k < lines.length; k++) {
                result[result.length] = lines[k];
            }
        }
        return result;
    };

    global.SmtpResponse = SmtpResponse;
}(this.host, this));
