/*
 * SmtpClient: the policy's connection to a next hop, in the words of RFC 5321.
 *
 * The program keeps the connection and knows where in the dialogue it is; what would put it out of step is
 * refused with an error (a command inside the message, a line break in an argument). What needs an extension is in
 * client_extensions.js, several steps as one in client_steps.js.
 */
(function (host, global) {
    'use strict';

    var HANDLE = Symbol('handle of a connection'), HIDDEN = 5, own = host.own, now = host.now, wait = host.wait,
        received = host.received, needMessage = host.needMessage, outgoing = host.outgoingHeaders,
        bodyReference = host.bodyReference, yieldTo = host.yieldTo, nothing = host.nothing;
    host.know('connection', HANDLE);
    /* For the library: of how many recipients the replies to a message may be. */
    var EXPECTED = host.EXPECTED = Symbol('recipients that a message was sent for');

    /**
     * @param {string} host_  name, IPv4 or IPv6 address, or "unix:/path"
     * @param {number} [port=25]
     * @param {Object} [options]  lmtp: true when the next hop speaks LMTP (RFC 2033); sourceAddress: our own address, or
     *     [address, port]; timeouts: seconds by name, for this connection; proxyProtocol: 1 or 2 to send a header of the
     *     PROXY protocol first, with the client's address (proxySource, proxyDestination: others)
     * @property {string} host
     * @property {number} port
     * @property {Object} options
     * @property {?Object} tls  facts about the connection's TLS: version, cipher, bits, sni, subject, fingerprint,
     *     verified, resumed
     */
    function SmtpClient(host_, port, options) {
        this.host = typeof host_ === 'string' ? host_ : String(host_);
        this.port = port === undefined || port === null ? 25 : port | 0;
        /* Not enumerable: policies of the predecessor see host and port, and no more. */
        own(this, 'options', options === undefined || options === null ? {} : options, HIDDEN);
        own(this, 'tls', null, HIDDEN);
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
        prepare(this);
        own(this, HANDLE, wait(['client.connect', this.host, this.port, this.options]), HIDDEN);
    };

    /* Before a connection is opened: there is none, and it is known where to. */
    function prepare(client) {
        if (client[HANDLE] !== undefined) {
            client.disconnect();
        }
        if (client.port < 1 || client.port > 65535 || client.host === '') {
            throw new Error('Invalid host or port ' + client.host + ':' + client.port);
        }
        client.tls = null;
    }

    /** For the library: `client` has this connection from now on. */
    host.connected = function (client, handle, tls) {
        own(client, HANDLE, handle, HIDDEN);
        client.tls = tls;
    };

    /** For the library: `client` has no connection any more; the handle that it had, or undefined. */
    host.disconnected = function (client) {
        var handle = client[HANDLE];
        delete client[HANDLE];
        client.tls = null;
        return handle;
    };

    host.connectionOf = handleOf;

    /**
     * Connects and gives the greeting: connect() and readResponse() as one. Waits. Without a greeting there is no connection.
     * @returns {SmtpResponse}
     * @throws {Error} as connect() and readResponse() do
     */
    SmtpClient.prototype.greeting = function () {
        var reply;
        prepare(this);
        reply = wait(['client.greeting', this.host, this.port, this.options]);
        own(this, HANDLE, reply[2], HIDDEN);
        return received(reply);
    };

    /**
     * Waits for the next reply.
     * @returns {SmtpResponse} its message is always an array, one element a line
     * @throws {Error} "Input/output error: …" when the connection is lost, "Protocol error: …" for what is no
     *     reply, "Connection timed out: …"; the connection is closed then
     */
    SmtpClient.prototype.readResponse = function () {
        var handle = this[HANDLE], reply;
        if (handle === undefined) {
            handleOf(this);
        }
        try {                                   // wait(['client.reply', handle]), without the call
            reply = yieldTo(['client.reply', handle]);
        } catch (impossible) {
            throw host.cannotWait('client.reply');
        }
        return received(reply === undefined ? nothing() : reply);
    };

    /**
     * Sends a command; the reply is read by readResponse().
     * @param {string} verb
     * @param {string} [args]  undefined or null: none
     * @throws {Error} for a line break or NUL in it, or a command that is not possible now
     */
    SmtpClient.prototype.sendCommand = host.sendCommand;        // in C: now('client.command', handle, verb, args)

    /**
     * Sends a command and gives the next reply: sendCommand() and readResponse() as one, which costs less than both. Waits.
     * @param {string} verb
     * @param {string} [args]  undefined or null: none
     * @returns {SmtpResponse}
     * @throws {Error} as sendCommand() and readResponse() do
     */
    SmtpClient.prototype.exchange = function (verb, args) {
        var handle = this[HANDLE], reply;
        if (handle === undefined) {
            handleOf(this);
        }
        if (typeof verb !== 'string') {
            verb = ''.concat(verb);                 // as sendCommand() does it: a symbol is no text
        }
        if (typeof args !== 'string') {
            args = args === undefined || args === null ? null : ''.concat(args);
        }
        try {                                   // wait(['client.exchange', …]), without the call
            reply = yieldTo(['client.exchange', handle, verb, args]);
        } catch (impossible) {
            throw host.cannotWait('client.exchange');
        }
        return received(reply === undefined ? nothing() : reply);
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
        // wait(['client.message', handle, headers, body])
        this[EXPECTED] = wait(messageRequest(this, 'client.message', 'sendMessage', headers, body));
    };

    /* The request of an operation that sends a message. A next hop that waits for one which cannot be given is left. */
    function messageRequest(client, operation, method, headers, body) {
        var handle = client[HANDLE];
        if (handle === undefined) {
            handleOf(client);
        }
        try {
            needMessage(method, headers, body);
            return [operation, handle, outgoing(headers), bodyReference(body)];
        } catch (unusable) {
            now('client.spoil', handle);
            throw unusable;
        }
    }
    host.messageRequest = messageRequest;

    /** Closes the connection without QUIT; harmless when there is none. */
    SmtpClient.prototype.disconnect = function () {
        var handle = this[HANDLE];
        delete this[HANDLE];
        this.tls = null;
        if (handle !== undefined) {
            now('client.close', handle);
        }
    };

    /** For the library: whether there is a connection (it may have broken since). */
    host.hasConnection = function (client) {
        return client[HANDLE] !== undefined;
    };

    global.SmtpClient = SmtpClient;
}(this.host, this));
