/*
 * SmtpClient: the policy's connection to a next hop, in the words of RFC 5321.
 *
 * The program keeps the connection and knows where in the dialogue it is; what would put it out of step is
 * refused with an error (a command inside the message, a line break in an argument).
 */
(function (host, global) {
    'use strict';

    var HANDLE = Symbol('handle of a connection');

    /**
     * @param {string} host_  name, IPv4 or IPv6 address, or "unix:/path"
     * @param {number} [port=25]
     * @property {string} host
     * @property {number} port
     */
    function SmtpClient(host_, port) {
        this.host = String(host_);
        this.port = port === undefined ? 25 : port | 0;
    }

    function handleOf(client) {
        var handle = client[HANDLE];
        if (handle === undefined) {
            throw new Error('Transport endpoint is not connected: call connect() first');
        }
        return handle;
    }

    /**
     * Connects (every address of the host is tried) and waits until that is done. The greeting is read by
     * readResponse(). A connection that is already open is closed first.
     * @throws {Error} "Link has been severed: …" when no address answers within the time-out
     */
    SmtpClient.prototype.connect = function () {
        this.disconnect();
        if (this.port < 1 || this.port > 65535 || this.host === '') {
            throw new Error('Invalid host or port ' + this.host + ':' + this.port);
        }
        Object.defineProperty(this, HANDLE, {
            value: host.wait('client.connect', this.host, this.port), configurable: true
        });
    };

    /**
     * Waits for the next reply.
     * @returns {SmtpResponse} its message is always an array, one element a line
     * @throws {Error} "Input/output error: …" when the connection is lost, "Protocol error: …" for what is no
     *     reply, "Connection timed out: …"; the connection is closed then
     */
    SmtpClient.prototype.readResponse = function () {
        var reply = host.wait('client.reply', handleOf(this));
        return host.markReceived(new global.SmtpResponse(reply[0], reply[1]));
    };

    /**
     * Sends a command; the reply is read by readResponse().
     * @param {string} verb
     * @param {string} [args]  undefined or null: none
     * @throws {Error} for a line break or NUL in it, or a command that is not possible now
     */
    SmtpClient.prototype.sendCommand = function (verb, args) {
        host.now('client.command', handleOf(this), String(verb), args === undefined || args === null ? null : String(args));
    };

    /**
     * Sends a message and its final dot, after the reply 354 to DATA. It reads no reply.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body  the body of smtpData, or a text
     * @throws {Error} when the next hop has not asked for a message, a header cannot be written (the connection
     *     is closed then, since the next hop would take anything else for text of the message), or the
     *     connection is lost
     */
    SmtpClient.prototype.sendMessage = function (headers, body) {
        var handle = handleOf(this), list, reference;
        try {
            host.needMessage('sendMessage', headers, body);
            list = host.outgoingHeaders(headers);
            reference = host.bodyReference(body);
        } catch (unusable) {
            host.now('client.spoil', handle);
            throw unusable;
        }
        host.wait('client.message', handle, list, reference);
    };

    /** Closes the connection without QUIT; harmless when there is none. */
    SmtpClient.prototype.disconnect = function () {
        var handle = this[HANDLE];
        if (handle !== undefined) {
            delete this[HANDLE];
            host.now('client.close', handle);
        }
    };

    global.SmtpClient = SmtpClient;
}(this.host, this));
