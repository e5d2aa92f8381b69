/*
 * Maps: files of networks, keys, domains or regular expressions.
 */
(function (host, global) {
    'use strict';

    function MapFile(name, options) {
        var found = host.now('map.load', String(name));
        this.path = found[0];
        this.kind = found[1];
        this.away = host.awayOf(options || {});
    }

    /** The value behind an entry: "" where it has none, null where there is no entry. */
    MapFile.prototype.get = function (key) {
        return host.wait(['map.find', this.path, String(key), this.away]);
    };

    /** Whether there is an entry. */
    MapFile.prototype.has = function (key) {
        return this.get(key) !== null;
    };

    global.Maps = {
        /**
         * A map, by the name of its file: its ending says what it is (.cidr, .hash, .domains, .regexp). At the top level of a
         * policy. It is read again when it changes.
         *
         *     var allowed = Maps.load('allow.cidr');
         *
         * @param {string} name  in the policy's folder, or in one of the setting mapDirectory
         * @param {{away: string}} [options]
         * @returns {MapFile}
         */
        load: function (name, options) {
            return new MapFile(name, options);
        }
    };
}(this.host, this));
