/*
 * SmtpClient, several steps as one: from the connection to the first MAIL, an envelope with what the next hop offers,
 * a message by DATA or BDAT, and connections that another session may use.
 */
(function (host, global) {
    'use strict';

    var IDENTITY = Symbol('what another session must want to use this connection');
    var HELLO = Symbol('the reply to EHLO');
    var MADE = Symbol('the handle of the connection that open() has made');
    var SmtpClient = global.SmtpClient, wait = host.wait, received = host.received, envelope = host.envelope,
        hasConnection = host.hasConnection;

    function refused(response) {
        return response.code < 200 || response.code >= 300;
    }

    /* From the connection on. A next hop that does not know EHLO is told HELO, when nothing is wanted that needs more. */
    function introduce(client, options, tls) {
        var response = client.greeting();
        if (response.code !== 220) {
            return response;
        }
        response = client.hello(options, tls);
        if (response.code >= 500 && response.extensions && tls.mode !== 'required' && tls.mode !== 'verified' &&
                !options.xclient && !options.auth && !client.options.lmtp) {
            response = client.exchange('HELO', options.name === undefined ? global.SmtpServer.prototype.hostname : options.name);
            response.extensions = {};
            client[HELLO] = response.message;
        }
        return response;
    }

    /**
     * Everything up to the first MAIL: connects, reads the greeting, says EHLO (HELO when that is not known and no more
     * is wanted), begins TLS, tells who the client is, authenticates. Waits.
     *
     * With "opportunistic" TLS a handshake that fails leads to a new connection without TLS.
     * @param {Object} [options]  name: ours, in EHLO; tls: as in startTls (default "off"); xclient: attributes, see
     *     there (their HELO is the name in the EHLO after it); auth: [mechanism, user, secret[, options]]; reuse: true to
     *     take a connection that another session has given back by release(), and to give this one back
     * @returns {SmtpResponse} the reply to EHLO, or the one that refused; the connection is closed then
     * @throws {Error} when there is no connection, or what is required cannot be
     */
    SmtpClient.prototype.open = function (options) {
        var tls, kept, response, identity;
        options = options || {};
        tls = host.tlsOptions(options.tls === undefined || options.tls === null ? 'off' : options.tls);
        identity = JSON.stringify([options.name === undefined ? global.SmtpServer.prototype.hostname : options.name, tls]);
        this.disconnect();
        this[IDENTITY] = options.reuse && !options.xclient && !options.auth ? identity : null;
        if (this[IDENTITY] !== null) {
            kept = host.wait(['client.reuse', this.host, this.port, this.options, identity]);
            if (kept !== null) {
                host.connected(this, kept[0], kept[2]);
                this[MADE] = kept[0];
                this[HELLO] = kept[1];
                return host.received([250, kept[1]]);
            }
        }
        try {
            try {
                response = introduce(this, options, tls);
            } catch (failed) {
                if (tls.mode !== 'opportunistic' || String(failed.message).indexOf('TLS handshake') !== 0) {
                    throw failed;
                }
                response = introduce(this, options, {mode: 'off'});
            }
        } catch (lost) {
            this.disconnect();
            throw lost;
        }
        if (refused(response)) {
            this.disconnect();
        } else {
            this[MADE] = host.connectionOf(this);
        }
        return response;
    };

    /**
     * What open() does after the greeting, for a policy that has passed that on to its client. Waits.
     * @param {Object} [options]  as in open()
     * @returns {SmtpResponse} the reply to the last EHLO, or the one that refused
     */
    SmtpClient.prototype.hello = function (options, tls) {
        var response, secured;
        options = options || {};
        tls = tls || host.tlsOptions(options.tls === undefined || options.tls === null ? 'off' : options.tls);
        response = this.ehlo(options.name);
        if (refused(response)) {
            return response;
        }
        secured = tls.mode === 'off' ? null : this.startTls(tls);
        if (secured !== null && this.tls !== null) {
            response = this.ehlo(options.name);
            if (refused(response)) {
                return response;
            }
        }
        if (options.xclient) {
            response = this.xclient(options.xclient);
            if (response === null) {
                throw new Error(this.host + ' offers XCLIENT with none of the attributes that are to be told');
            }
            /* Now we speak for the client, by the name that it has given itself. */
            response = refused(response) ? response : this.ehlo(options.xclient.HELO || options.name);
            if (refused(response)) {
                return response;
            }
        }
        if (options.auth) {
            secured = this.auth.apply(this, options.auth);
            if (refused(secured)) {
                return secured;
            }
        }
        this[HELLO] = response.message;
        return response;
    };

    /* MAIL or RCPT as the next hop takes it: the program knows what it offers. */
    function pass(client, verb, path) {
        // wait(['client.envelope', handle, verb, text of the path, parameters]); the request is made in C.
        return received(wait(envelope(client, verb, path)));
    }

    function refusal(code, text) {
        return new global.SmtpResponse(code, text);
    }

    /**
     * MAIL for a sender as a client has given it, with those of its parameters that the next hop offers. Waits.
     *
     * Left out where they are not offered: SIZE, BODY=8BITMIME, RET, ENVID, AUTH, PRDR. What promises more is refused here:
     * SMTPUTF8 (550 5.6.7), REQUIRETLS (550 5.7.30; it also needs TLS to the next hop whose certificate is verified),
     * BODY=BINARYMIME (554 5.6.3).
     * @param {SmtpPath} path
     * @returns {SmtpResponse} the next hop's reply, or that refusal
     */
    SmtpClient.prototype.mail = function (path) {
        return pass(this, 'MAIL', path);
    };

    /**
     * RCPT for a recipient as a client has given it. NOTIFY and ORCPT are left out where DSN is not offered. Waits.
     * @param {SmtpPath} path
     * @returns {SmtpResponse}
     */
    SmtpClient.prototype.rcpt = function (path) {
        return pass(this, 'RCPT', path);
    };

    /**
     * Sends a message after its envelope: by BDAT where the next hop offers CHUNKING and it came in chunks itself, else by
     * DATA. Waits.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {SmtpResponse} as readMessageResponse() gives it, or the refusal of DATA
     */
    SmtpClient.prototype.transfer = function (headers, body) {
        var way, response;
        host.needMessage('transfer', headers, body);
        way = host.now('client.way', host.connectionOf(this), host.bodyReference(body));
        if (way === 'none') {
            return refusal(554, '5.6.3 The next server does not take binary messages');
        }
        if (way === 'chunks') {
            this.sendChunks(headers, body);
            return this.readMessageResponse();
        }
        response = this.exchange('DATA');
        return response.code === 354 ? this.exchangeMessage(headers, body) : response;
    };

    /**
     * Whether transfer() would send this body by BDAT.
     * @param {?(SmtpBody|string)} [body]
     * @returns {boolean}
     */
    SmtpClient.prototype.prefersChunks = function (body) {
        return host.now('client.way', host.connectionOf(this), host.bodyReference(body)) === 'chunks';
    };

    /** Says QUIT, reads the reply, and closes. Waits; never throws. @returns {?SmtpResponse} null when there was none */
    SmtpClient.prototype.quit = function () {
        var response = null;
        if (hasConnection(this)) {
            try {
                response = this.exchange('QUIT');
            } catch (gone) {
                /* It has left before us. */
            }
            this.disconnect();
        }
        return response;
    };

    /**
     * Gives the connection to whichever session of this process asks for one like it next, by open({reuse: true}); it
     * waits for that a few seconds. Only one that open({reuse: true}) has opened is fit for it, between transactions, when
     * nothing has failed on it and nothing was said on it that RSET does not take back: AUTH, XCLIENT, EHLO with another name,
     * a command that is none of RFC 5321; any other is closed with QUIT. Never throws.
     * @returns {boolean} whether it is kept
     */
    SmtpClient.prototype.release = function () {
        var handle = host.disconnected(this);
        if (handle === undefined) {
            return false;
        }
        return host.now('client.keep', handle, handle === this[MADE] && this[IDENTITY] || '', this[HELLO] || []);
    };
}(this.host, this));
