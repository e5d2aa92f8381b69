/*
 * SmtpBody: the body of a message, kept by the program; a policy holds a handle on it.
 *
 * Every method that takes a body accepts it. It is read through methods; reading never changes it.
 */
(function (host, global) {
    'use strict';

    var HANDLE = Symbol('handle of a body');

    /**
     * Made by the engine for smtpData(headers, body).
     * @property {number} length  octets of the body, line ends included, dots un-stuffed
     */
    function SmtpBody(handle, length) {
        this[HANDLE] = handle;
        host.own(this, 'length', length, 2);
    }

    /** @returns {string} a label for logs, not the content: "body of 1234 bytes" */
    SmtpBody.prototype.toString = function () {
        return 'body of ' + this.length + ' bytes';
    };

    /**
     * A stretch of the body as text (octets that are not UTF-8 as U+DC80 … U+DCFF, one for each).
     * @param {number} [offset=0]  octets from the beginning
     * @param {number} [count]  octets at most; default and limit 1048576
     * @returns {string}
     */
    SmtpBody.prototype.read = function (offset, count) {
        return host.now('body.read', this[HANDLE], offset === undefined ? 0 : Math.floor(offset),
            count === undefined ? 1048576 : Math.floor(count));
    };

    host.SmtpBody = SmtpBody;
    host.know('SmtpBody', SmtpBody);            // most are made by the program itself (duk_library.c)
    host.know('bodyHandle', HANDLE);
}(this.host, this));
