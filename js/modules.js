/*
 * require(): the modules of a policy (CommonJS).
 *
 * The program finds and compiles them while the policy is loaded and registers each here as a function; nothing is
 * read from a disk later. A module runs when it is required for the first time.
 *
 * Names: "./rules/dnsbl.js" is a file in the policy's folder, "mailfilter/policies/mx.js" one that comes with the
 * program. Must not know: files, mail.
 */
(function (host, global) {
    'use strict';

    var LIBRARY = Object.keys(global).filter(function (name) { return name !== 'host' && name !== 'performance'; });
    var ENDINGS = ['', '.js', '.json', '.ts', '/index.js', '/index.ts'];
    var factories = Object.create(null), names = Object.create(null), cache = Object.create(null);
    var now = host.now, library = null;

    /** A module: its name, its file, and the function that runs it. `asked` lists what it was asked for by. */
    host.module = function (id, file, asked, factory) {
        factories[id] = {file: file, run: factory};
        names[id] = id;
        asked.forEach(function (name) { names[name] = id; });
    };

    /* The name that `request` has, asked for from `folder`; '' when it is not in reach. */
    function named(folder, request) {
        var parts = request.charAt(0) === '.' ? folder.split('/') : [], i, part, given = request.split('/');
        for (i = 0; i < given.length; i++) {
            part = given[i];
            if (part === '..') {
                if (parts.length < 2) {
                    return '';
                }
                parts.pop();
            } else if (part !== '' && part !== '.') {
                parts.push(part);
            }
        }
        return parts.join('/');
    }

    function found(name) {
        for (var i = 0; i < ENDINGS.length; i++) {
            if (name + ENDINGS[i] in names) {
                return names[name + ENDINGS[i]];
            }
        }
        return null;
    }

    function folderOf(path) {
        return path.slice(0, path.lastIndexOf('/'));
    }

    function requireFrom(folder, request) {
        var id, error, module, factory;
        if (typeof request !== 'string' || request === '') {
            throw new TypeError('require takes the name of a module');
        }
        if (request === 'mailfilter') {
            if (library === null) {
                library = {};
                LIBRARY.forEach(function (name) { library[name] = global[name]; });
            }
            return library;
        }
        id = found(named(folder, request));
        if (id === null) {
            error = new Error(now('module.want', folder, request));
            error.code = 'MODULE_NOT_FOUND';
            throw error;
        }
        if (id in cache) {
            return cache[id].exports;
        }
        factory = factories[id];
        module = cache[id] = {id: id, filename: factory.file, loaded: false, exports: {}};
        try {
            factory.run.call(module.exports, module.exports, requiring(folderOf(id)), module, factory.file,
                folderOf(factory.file));
            module.loaded = true;
        } finally {             // and no catch: that would hide where a text was thrown
            if (!module.loaded) {
                delete cache[id];
            }
        }
        factory.run = null;
        return module.exports;
    }

    function requiring(folder) {
        return function require(request) { return requireFrom(folder, request); };
    }

    host.define(global, 'require', requiring('.'));
}(this.host, this));
