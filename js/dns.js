/*
 * Dns: questions to the DNS.
 *
 * Dns.query answers as policies of the predecessor expect it; Dns.lookup and the calls after it are the ones to
 * write today. None of them throws for what the network does.
 */
(function (host, global) {
    'use strict';

    var TYPES = [
        'invalid', 'a', 'ns', 'md', 'mf', 'cname', 'soa', 'mb', 'mg', 'mr', 'null', 'wks', 'ptr', 'hinfo', 'minfo', 'mx',
        'txt', 'rp', 'afsdb', 'x25', 'isdn', 'rt', 'nsap', 'nsap_ptr', 'sig', 'key', 'px', 'gpos', 'aaaa', 'loc', 'nxt',
        'eid', 'nimloc', 'srv', 'atma', 'naptr', 'kx', 'cert', 'a6', 'dname', 'sink', 'opt', 'apl', 'ds', 'sshfp',
        'ipseckey', 'rrsig', 'nsec', 'dnskey', 'dhcid', 'nsec3', 'nsec3param', 'tlsa', 'smimea', '', 'hip', 'ninfo', 'rkey',
        'talink', 'cds', 'cdnskey', 'openpgpkey', 'csync'
    ];
    var MORE_TYPES = {
        99: ['spf', 'uinfo', 'uid', 'gid', 'unspec', 'nid', 'l32', 'l64', 'lp', 'eui48', 'eui64'],
        249: ['tkey', 'tsig', 'ixfr', 'axfr', 'mailb', 'maila', 'any', 'uri', 'caa', 'avc'],
        32768: ['ta', 'dlv'],
        65: ['https']
    };
    var HOST_NOT_FOUND = 1, TRY_AGAIN = 2, NO_RECOVERY = 3, NO_DATA = 4;
    /* What Dns.query returns for an outcome. */
    var CODES = {
        nxdomain: HOST_NOT_FOUND, servfail: TRY_AGAIN, timeout: TRY_AGAIN, unavailable: TRY_AGAIN,
        refused: NO_RECOVERY, malformed: NO_RECOVERY, nodata: NO_DATA
    };
    var Dns = {
        HOST_NOT_FOUND: HOST_NOT_FOUND, TRY_AGAIN: TRY_AGAIN, NO_RECOVERY: NO_RECOVERY, NO_DATA: NO_DATA
    };

    function number(names, first) {
        for (var i = 0; i < names.length; i++) {
            if (names[i] !== '') {
                Dns['t_' + names[i]] = first + i;
            }
        }
    }

    number(TYPES, 0);
    for (var first in MORE_TYPES) {
        number(MORE_TYPES[first], +first);
    }

    function kindOf(type) {
        if (typeof type === 'number' && type > 0 && type < 65536) {
            return type;
        }
        var found = typeof type === 'string' ? Dns['t_' + type.toLowerCase().replace('-', '_')] : undefined;
        if (!found) {
            throw new TypeError('there is no record type ' + type);
        }
        return found;
    }

    function seconds(options) {
        var timeout = options === undefined || options === null ? undefined : options.timeout;
        if (timeout === undefined) {
            return 0;
        }
        if (!(timeout > 0)) {
            throw new TypeError('timeout is a number of seconds above 0, not ' + timeout);
        }
        return +timeout;
    }

    function records(rows) {
        var list = [], i, k, row, record;
        for (i = 0; i < rows.length; i++) {
            row = rows[i];
            record = { name: row[0], type: row[1], ttl: row[2], data: row[3] };
            for (k = 0; k < row[4].length; k += 2) {
                record[row[4][k]] = row[4][k + 1];
            }
            list[i] = record;
        }
        return list;
    }

    /**
     * The reversed name of an address: "d.c.b.a.in-addr.arpa" for IPv4, 32 nibbles under ip6.arpa for IPv6.
     * @param {string} addr
     * @param {string} [suffix]  instead of in-addr.arpa and ip6.arpa, for blocklists
     * @returns {?string} null when it is no address
     */
    Dns.revAddr = function (addr, suffix) {
        if (arguments.length === 0) {
            throw new TypeError('Dns.revAddr: an address is needed');
        }
        return host.now('dns.address', String(addr), suffix === undefined || suffix === null ? null : String(suffix));
    };

    /**
     * Asks, as the predecessor did. Waits.
     * @param {string} name
     * @param {number|string} type  Dns.t_mx or "MX"
     * @param {{timeout: number}} [options]  timeout: in seconds, below the resolver's own
     * @returns {number|object} {question, answer, ns, additional}, arrays of {name, type, ttl, data, …}; or one of
     *     HOST_NOT_FOUND, TRY_AGAIN, NO_RECOVERY, NO_DATA
     */
    Dns.query = function (name, type, options) {
        var kind = kindOf(type), found = host.wait(['dns.question', String(name), kind, seconds(options)]);
        if (found[0] !== 'found') {
            return CODES[found[0]];
        }
        return {
            question: [{ name: String(name), type: kind }],
            answer: records(found[2]), ns: records(found[3]), additional: records(found[4])
        };
    };

    /**
     * Asks for the records of one type that a name has, by way of aliases. Waits.
     *
     *     var mx = Dns.lookup('example.org', 'MX');
     *     if (mx.status === 'found') { Sys.log(Sys.LOG_INFO, mx.records[0].exchange); }
     *
     * @param {string} name
     * @param {number|string} type  Dns.t_mx or "MX"
     * @param {{timeout: number}} [options]
     * @returns {{status: string, records: object[], data: string[], ttl: number, temporary: boolean, reason: ?string}}
     *     status: "found", "nxdomain", "nodata", "servfail", "refused", "timeout", "malformed" or "unavailable";
     *     temporary: whether the outcome says nothing about the name, so that it may be another one later
     */
    Dns.lookup = function (name, type, options) {
        var found = host.wait(['dns.lookup', String(name), kindOf(type), seconds(options)]), list = records(found[3]), data = [];
        for (var i = 0; i < list.length; i++) {
            data[i] = list[i].data;
        }
        return {
            status: found[0], records: list, data: data, ttl: found[1],
            temporary: found[0] !== 'found' && found[0] !== 'nxdomain' && found[0] !== 'nodata', reason: found[2]
        };
    };

    /**
     * The addresses of a host, IPv4 before IPv6; an empty array when there are none. Waits.
     * @param {string} name
     * @returns {string[]}
     */
    Dns.addresses = function (name) {
        return Dns.lookup(name, Dns.t_a).data.concat(Dns.lookup(name, Dns.t_aaaa).data);
    };

    /**
     * The names that an address claims to have; nobody has verified them. Waits.
     * @param {string} addr
     * @returns {string[]}
     */
    Dns.names = function (addr) {
        var name = Dns.revAddr(String(addr));
        return name === null ? [] : Dns.lookup(name, Dns.t_ptr).data;
    };

    /**
     * The reverse names of an address, verified by their own addresses (RFC 8601 §2.7.3). Waits.
     * @param {string} addr
     * @returns {{result: string, name: ?string, names: string[]}} result: "pass", "fail", "temperror" or "permerror";
     *     name: the verified one
     */
    Dns.iprev = function (addr) {
        var found = host.wait(['dns.iprev', String(addr)]);
        return { result: found[0], name: found[1], names: found[2] };
    };

    global.Dns = Dns;
}(this.host, this));
