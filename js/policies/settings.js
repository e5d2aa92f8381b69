/*
 * What an administrator sets, read and checked when the policy is loaded: lists, choices, servers, networks, and what follows
 * when a test finds something. A setting that makes no sense is told by its name, and the server does not start.
 *
 * A module, for the policies here and for your own:
 *
 *     var settings = require('mailfilter/policies/settings');
 *     var clamd = settings.server('clamav', '', 3310);        // null when it is not set
 *
 * It has no settings itself. Must not know: sessions, mail.
 */

/** The words of a text: what blanks, line ends and commas part. */
exports.split = function (text) {
    return text.split(/[\s,]+/).filter(function (word) { return word !== ''; });
};

/** A setting as an array of words. */
exports.words = function (name, fallback) {
    return exports.split(Sys.setting(name, fallback));
};

/** A setting that is one of the words in `known`. */
exports.choice = function (name, fallback, known) {
    return exports.chosen(name, Sys.setting(name, fallback), known);
};

exports.chosen = function (name, text, known) {
    if (known.indexOf(text) < 0) {
        throw new Error("setting '" + name + "' is '" + text + "'; it must be " + known.join(' or '));
    }
    return text;
};

/** A number from `least` on. */
exports.number = function (name, fallback, least) {
    var value = Sys.setting(name, fallback);
    if (value < least) {
        throw new Error("setting '" + name + "' is " + value + '; it must be ' + least + ' or more');
    }
    return value;
};

/** A server, host:port, [IPv6]:port or unix:/path, as {host, port}; null when the setting is empty. */
exports.server = function (name, fallback, port) {
    return exports.address(name, Sys.setting(name, fallback), port);
};

exports.address = function (name, text, port) {
    var found = text.trim().match(/^(unix:.+|\[[^\]]+\]|[^:\s]+)(?::(\d+))?$/);
    if (text.trim() === '') {
        return null;
    }
    if (!found || found[2] !== undefined && !(Number(found[2]) > 0 && Number(found[2]) < 65536)) {
        throw new Error("setting '" + name + "' is '" + text + "'; it must be host:port, [IPv6]:port or unix:/path");
    }
    return {host: found[1].replace(/^\[|\]$/g, ''), port: found[2] === undefined ? port : Number(found[2])};
};

/** What is done when a service is away: tempfail (451, the client comes again) or accept (go on without it). */
exports.away = function (name, fallback) {
    return exports.choice(name, fallback, ['tempfail', 'accept']);
};

/**
 * What follows when a test finds something: reject (550), defer (451), quarantine, mark, none; or a number of points, which is
 * added to the message's score (a negative one speaks for it).
 * @returns {{what: string, points: number}}
 */
exports.consequence = function (name, fallback) {
    var text = String(Sys.setting(name, fallback)).trim();
    if (/^[+-]?\d+(\.\d+)?$/.test(text)) {
        return {what: 'points', points: Number(text)};
    }
    if (['reject', 'defer', 'quarantine', 'mark', 'none'].indexOf(text) < 0) {
        throw new Error("setting '" + name + "' is '" + text + "'; it must be reject, defer, quarantine, mark, none, or a number of points");
    }
    return {what: text, points: 0};
};

/** Whether a test can have any effect; if not, it need not be made. */
exports.matters = function (consequence) {
    return consequence.what !== 'none' && !(consequence.what === 'points' && consequence.points === 0);
};

/* An address as a text of bits, with its version in front; null when it is none. */
function bits(address) {
    var name = Dns.revAddr(address), digits;
    if (name === null) {
        return null;
    }
    digits = name.split('.');
    if (/in-addr\.arpa$/.test(name)) {
        return '4' + digits.slice(0, 4).reverse().map(function (octet) { return (256 + +octet).toString(2).slice(1); }).join('');
    }
    return '6' + digits.slice(0, 32).reverse().map(function (nibble) {
        return (16 + parseInt(nibble, 16)).toString(2).slice(1);
    }).join('');
}

/** Addresses and networks; has(address) tells whether an address is one of them, or in one of them. */
exports.networks = function (name, fallback) {
    var starts = exports.words(name, fallback).map(function (network) {
        var parts = network.split('/'), start = bits(parts[0]), length;
        if (start !== null && parts.length < 3) {
            length = parts.length > 1 && /^\d{1,3}$/.test(parts[1]) ? +parts[1] : parts.length > 1 ? -1 : start.length - 1;
            if (length >= 0 && length < start.length) {
                return start.slice(0, 1 + length);
            }
        }
        throw new Error("setting '" + name + "': '" + network + "' is no address and no network, as 192.0.2.0/24");
    });
    return {
        has: function (address) {
            var asked = bits(String(address));
            return asked !== null && starts.some(function (start) { return asked.indexOf(start) === 0; });
        }
    };
};

/** Blocklists, with weights: "zen.example.org=2 other.example". `kind` may say {allow: true} or {domains: true}; see Dnsbl. */
exports.zones = function (name, fallback, kind) {
    return exports.words(name, fallback).map(function (word) {
        var parts = word.split('='), weight = parts.length > 1 ? Number(parts[1]) : 1;
        if (parts.length > 2 || !(weight > 0)) {
            throw new Error("'" + word + "' is no blocklist; write its domain, and if wanted a weight: zen.example.org=2");
        }
        return {zone: parts[0], weight: weight, allow: kind.allow === true, domains: kind.domains === true};
    });
};
