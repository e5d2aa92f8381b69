/*
 * SmtpRoutes: one transaction of a client whose recipients go to different next hops.
 *
 * SMTP has one reply to a message for all its recipients, and no way to take back what a next hop has accepted. So what to do
 * when next hops may disagree has to be decided before: see `disagree`.
 */
(function (host, global) {
    'use strict';

    var WAYS = ['defer', 'refuse', 'each'];

    /**
     * @param {{disagree: ("defer"|"refuse"|"each")}} [options]  what is done so that no message is acknowledged that
     *     somebody responsible has not taken:
     *     "defer" (default): a transaction has one next hop (and with LMTP one recipient); other recipients are told 451 and
     *         come again in a transaction of their own. Nothing is lost, nothing comes twice.
     *     "refuse": all get the message, one after the other, until one refuses; that refusal is the reply. Nothing is lost,
     *         but those that had accepted it before get it again when the client tries again.
     *     "each": a reply for each recipient, where the client has asked for that (PRDR); otherwise "defer"
     * @property {string} disagree
     */
    function SmtpRoutes(options) {
        this.disagree = options && options.disagree !== undefined ? String(options.disagree) : 'defer';
        if (WAYS.indexOf(this.disagree) < 0) {
            throw new TypeError('SmtpRoutes: disagree must be one of ' + WAYS.join(', '));
        }
        this.sender = null;
        this.routes = [];           /* {client, places}: the places of its recipients in the client's order */
        this.count = 0;
    }

    function respond(code, text) {
        return new global.SmtpResponse(code, text);
    }

    function lost() {
        return respond(451, '4.4.2 The connection to the next server was lost');
    }

    /* A next hop that says 421 leaves us, not the client. */
    function passedOn(response) {
        return response.code === 421 ? respond(451, response.message) : response;
    }

    function attempt(route, work) {
        var response;
        try {
            response = work(route.client);
        } catch (broken) {
            route.client.disconnect();
            return lost();
        }
        if (response.code === 421) {
            route.client.disconnect();
        }
        return response;
    }

    /**
     * Begins a transaction. Next hops are told when they get a recipient.
     * @param {SmtpPath} path
     * @returns {SmtpResponse} 250
     */
    SmtpRoutes.prototype.mail = function (path) {
        this.reset();
        this.sender = path;
        return respond(250, '2.1.0 Sender ok');
    };

    /**
     * Gives a recipient to its next hop. Waits.
     * @param {SmtpPath} path
     * @param {SmtpClient} client  that has said hello; the same object for the same next hop
     * @returns {SmtpResponse} for the client: the next hop's, or 451 for a recipient that is to come by itself
     */
    SmtpRoutes.prototype.rcpt = function (path, client) {
        var route = null, response, i, together;
        if (this.sender === null) {
            throw new Error('SmtpRoutes: mail() comes first');
        }
        together = this.disagree === 'refuse' || (this.disagree === 'each' && this.sender.params.PRDR === true);
        for (i = 0; i < this.routes.length; i++) {
            if (this.routes[i].client === client) {
                route = this.routes[i];
            }
        }
        if (!together && this.count > 0 && (route === null || !route.places.length || (client.options && client.options.lmtp))) {
            return respond(451, '4.5.3 That recipient needs a transaction of its own, try again');
        }
        if (route === null) {
            route = {client: client, places: []};
            response = attempt(route, function (next) { return next.mail(this.sender); }.bind(this));
            if (response.code >= 300) {
                return passedOn(response);
            }
            this.routes.push(route);
        }
        response = attempt(route, function (next) { return next.rcpt(path); });
        if (response.code < 300) {
            route.places.push(this.count);
            this.count += 1;
        }
        return passedOn(response);
    };

    /**
     * Sends the message to every next hop that has a recipient. Waits. The transaction is over then.
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @returns {SmtpResponse} for the client; 250 only when every recipient that was accepted is safe, or is refused in
     *     `recipients` (an array with a response for each of them, with "each")
     */
    SmtpRoutes.prototype.transfer = function (headers, body) {
        var routes = this.routes, each = [], taken = null, worst = null, response, i, k, single;

        function send(client) {
            return client.transfer(headers, body);
        }
        this.routes = [];
        this.sender = null;
        this.count = 0;
        for (i = 0; i < routes.length; i++) {
            if (!routes[i].places.length || (worst !== null && this.disagree !== 'each')) {
                this.forget(routes[i]);
                continue;
            }
            response = passedOn(attempt(routes[i], send));
            if (response.code >= 300 && !response.recipients) {
                this.forget(routes[i]);         /* it may still be in the transaction */
            }
            for (k = 0; k < routes[i].places.length; k++) {
                single = response.recipients ? passedOn(response.recipients[k] || lost()) : response;
                each[routes[i].places[k]] = single;
                if (single.code < 300) {
                    taken = taken || response;
                } else if (worst === null || (single.code < 500 && worst.code >= 500)) {
                    worst = single;
                }
            }
        }
        if (worst === null) {
            return taken === null ? respond(554, '5.5.1 No valid recipients') : finished(taken, each);
        }
        if (this.disagree === 'each' && each.length > 1) {
            return finished(taken === null ? worst : respond(250, '2.0.0 Taken for some'), each);
        }
        return worst;
    };

    function finished(response, each) {
        response = respond(response.code, response.message);
        if (each.length > 1) {
            response.recipients = each;
        }
        return response;
    }

    /* Takes a next hop out of its transaction; one that will not is left. */
    SmtpRoutes.prototype.forget = function (route) {
        try {
            if (route.client.exchange('RSET').code >= 300) {
                route.client.disconnect();
            }
        } catch (gone) {
            route.client.disconnect();
        }
    };

    /** Ends the transaction without a message. Waits. */
    SmtpRoutes.prototype.reset = function () {
        var routes = this.routes;
        this.routes = [];
        this.sender = null;
        this.count = 0;
        for (var i = 0; i < routes.length; i++) {
            this.forget(routes[i]);
        }
    };

    global.SmtpRoutes = SmtpRoutes;
}(this.host, this));
