/*
 * SmtpClient: what goes beyond RFC 5321. Chunks, replies for each recipient, what a next hop offers, TLS, AUTH, and telling
 * it who the client is.
 */
(function (host, global) {
    'use strict';

    var SmtpClient = global.SmtpClient, EXPECTED = host.EXPECTED, wait = host.wait, received = host.received,
        messageRequest = host.messageRequest;

    /**
     * Sends a message in chunks (BDAT, RFC 3030), without DATA before it. It reads no reply. The program decides how
     * many chunks there are; a refused one ends the message, and its reply is the next one.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @throws {Error} as sendMessage does, and when the next hop does not offer CHUNKING
     */
    SmtpClient.prototype.sendChunks = function (headers, body) {
        var handle = host.connectionOf(this);
        host.needMessage('sendChunks', headers, body);
        this[EXPECTED] = wait(['client.chunks', handle, host.outgoingHeaders(headers), host.bodyReference(body)]);
    };

    /**
     * Reads what the next hop says to a message: one reply; with LMTP one for each accepted recipient; with PRDR (when
     * MAIL has asked for it) both. Waits.
     * @returns {SmtpResponse} the reply for all; with LMTP the worst one (4xx, then 5xx). Its property `recipients`,
     *     where there are several, has one for each accepted recipient in their order
     */
    SmtpClient.prototype.readMessageResponse = function () {
        return wholeResponse(this, this.readResponse());
    };

    /**
     * Sends a message after the reply 354 to DATA, and gives what the next hop says to it: sendMessage() and
     * readMessageResponse() as one. Waits.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {SmtpResponse} as readMessageResponse() gives it
     * @throws {Error} as these two do
     */
    SmtpClient.prototype.exchangeMessage = function (headers, body) {
        // wait(['client.transmit', handle, headers, body])
        var reply = wait(messageRequest(this, 'client.transmit', 'exchangeMessage', headers, body));
        this[EXPECTED] = reply[2];
        return wholeResponse(this, received(reply));
    };

    /* What is said to a message, of which the first reply is there. */
    function wholeResponse(client, response) {
        var lmtp = client.options.lmtp, count, each, i;
        if (response.code !== 353 && !lmtp) {
            return response;
        }
        count = client[EXPECTED];
        each = lmtp ? [response] : [];
        while (each.length < count && !(each.length && each[each.length - 1].code === 421)) {
            each.push(client.readResponse());
        }
        if (lmtp) {
            while (each.length < count) {           /* it has left: nobody knows about the others */
                each.push(each[each.length - 1]);
            }
            for (i = 1; i < each.length; i++) {
                if (rank(each[i]) > rank(response)) {
                    response = each[i];
                }
            }
            response = received([response.code, response.message]);
        } else {
            response = client.readResponse();
        }
        response.recipients = each;
        return response;
    }

    function rank(response) {
        return response.code < 300 ? 0 : response.code >= 500 ? 1 : 2;
    }

    /**
     * Says EHLO (with LMTP LHLO) and reads the reply. Waits.
     * @param {string} [name]  our own name; default SmtpServer.prototype.hostname
     * @returns {SmtpResponse} with a property `extensions`: parameters by keyword
     */
    SmtpClient.prototype.ehlo = function (name) {
        var response = this.exchange(this.options.lmtp ? 'LHLO' : 'EHLO',
            name === undefined ? global.SmtpServer.prototype.hostname : name);
        response.extensions = response.code < 300 ? extensionsOf(this) : {};
        return response;
    };

    function extensionsOf(client) {
        var flat = host.now('client.extensions', host.connectionOf(client)), found = {}, i;
        for (i = 0; i < flat.length; i += 2) {
            found[flat[i]] = flat[i + 1];
        }
        return found;
    }

    /**
     * Whether the next hop offers an extension (in its last reply to EHLO).
     * @param {string} keyword
     * @returns {?string} its parameters, "" when there are none; null when it is not offered
     */
    SmtpClient.prototype.offers = function (keyword) {
        var found = extensionsOf(this);
        keyword = String(keyword).toUpperCase();
        return Object.prototype.hasOwnProperty.call(found, keyword) ? found[keyword] : null;
    };

    /**
     * STARTTLS, if it is to be. After it the next hop has forgotten everything: say ehlo() again. Waits.
     * @param {string|Object} [options]  a mode, or {mode, ca, name, fingerprint}. Modes: "off"; "opportunistic" (default:
     *     when it is offered); "required"; "verified" (the certificate must be signed by a CA and name the host, or
     *     have the fingerprint)
     * @returns {?SmtpResponse} the reply; null when nothing was said, because of the mode or because it is not offered
     * @throws {Error} when TLS is required and cannot be; or the handshake fails, and the connection with it
     */
    SmtpClient.prototype.startTls = function (options) {
        var wanted = host.tlsOptions(options), must = wanted.mode === 'required' || wanted.mode === 'verified', reply;
        if (wanted.mode === 'off' || this.tls !== null) {
            return null;
        }
        if (this.offers('STARTTLS') === null) {
            if (must) {
                throw new Error('TLS is ' + wanted.mode + ', and ' + this.host + ' does not offer it');
            }
            return null;
        }
        reply = wait(['client.starttls', host.connectionOf(this), wanted]);
        this.tls = reply[2];
        if (must && this.tls === null) {
            throw new Error('TLS is ' + wanted.mode + ', and ' + this.host + ' refuses it: ' + reply[0] + ' ' + reply[1][0]);
        }
        return received(reply);
    };

    /** For the library: what startTls was given, as an object with a mode. */
    host.tlsOptions = function (options) {
        var found = {mode: 'opportunistic'}, name;
        if (typeof options === 'string') {
            found.mode = options;
        } else if (options !== undefined && options !== null) {
            for (name in options) {
                if (options[name] !== undefined && options[name] !== null) {
                    found[name] = options[name];
                }
            }
        }
        if (['off', 'opportunistic', 'required', 'verified'].indexOf(found.mode) < 0) {
            throw new TypeError('there is no TLS mode ' + found.mode);
        }
        return found;
    };

    /**
     * Proves who we are (AUTH, RFC 4954). Waits.
     * @param {string} mechanism  PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, XOAUTH2 or OAUTHBEARER
     * @param {string} user
     * @param {string} secret  password or token
     * @param {{clear: boolean}} [options]  clear: true lets PLAIN, LOGIN and tokens go without TLS
     * @returns {SmtpResponse} 235 when it is believed
     * @throws {Error} when the mechanism is not offered, would show the secret, or the next hop does not keep to it
     */
    SmtpClient.prototype.auth = function (mechanism, user, secret, options) {
        return received(wait(['client.auth', host.connectionOf(this), String(mechanism), String(user), String(secret),
            !!(options && options.clear)]));
    };

    /**
     * Passes a client's AUTH on: mechanism and initial response as they came. Waits.
     * @param {string} mechanism
     * @param {?string} [initialResponse]
     * @returns {SmtpResponse} 334 is a challenge for the client, whose line goes to relayAuthLine(); others end it
     */
    SmtpClient.prototype.relayAuth = function (mechanism, initialResponse) {
        return this.exchange('AUTH', mechanism + (initialResponse === undefined || initialResponse === null ||
            initialResponse === '' ? '' : ' ' + initialResponse));
    };

    /**
     * Passes on what the client answers to a challenge: base64, or "*" when it gives up. Waits.
     * @param {string} line
     * @returns {SmtpResponse}
     */
    SmtpClient.prototype.relayAuthLine = function (line) {
        host.now('client.answer', host.connectionOf(this), String(line));
        return this.readResponse();
    };

    function impersonate(client, verb, attributes) {
        var list = [], name;
        for (name in attributes) {
            list.push(name, attributes[name] === null || attributes[name] === undefined ? null : String(attributes[name]));
        }
        return host.now('client.impersonate', host.connectionOf(client), verb, list) ? client.readResponse() : null;
    }

    /**
     * Tells the next hop who the client is (XCLIENT, as Postfix has it). After it the next hop has forgotten everything: say
     * ehlo() again. Waits.
     * @param {Object} attributes  NAME, ADDR, PORT, PROTO, HELO, LOGIN, DESTADDR, DESTPORT; null: not known. Those that the
     *     next hop does not know are left out
     * @returns {?SmtpResponse} null when it knows none of them
     * @throws {Error} when it does not offer XCLIENT
     */
    SmtpClient.prototype.xclient = function (attributes) {
        return impersonate(this, 'XCLIENT', attributes);
    };

    /**
     * What XCLIENT and XFORWARD may tell of a session's client. Waits (for the client's verified name).
     * @param {SmtpServer} server
     * @param {string} [helo]  what the client called itself; default server.clientname
     * @returns {Object}
     */
    SmtpClient.about = function (server, helo) {
        var local = server.remoteAddr === 'local';
        return {
            NAME: local ? 'localhost' : wait(['dns.reverse', server.remoteAddr]),
            ADDR: local ? '127.0.0.1' : server.remoteAddr,
            PORT: server.remotePort || null,
            PROTO: /^E/.test(server.proto) || helo !== undefined ? 'ESMTP' : 'SMTP',
            HELO: helo === undefined ? server.clientname : helo,
            IDENT: server.sessionId,
            SOURCE: local ? 'LOCAL' : 'REMOTE'
        };
    };

    /** The same for the log of the next hop only (XFORWARD), before each MAIL: NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE. Waits. */
    SmtpClient.prototype.xforward = function (attributes) {
        return impersonate(this, 'XFORWARD', attributes);
    };
}(this.host, this));
