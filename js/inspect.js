/*
 * Sys.inspect and Sys.dump: values as text that shows their types. There only for policies that name one of them.
 */
(function (host, global) {
    'use strict';

    var Sys = global.Sys;

    function isNative(f) {
        return /\[native code\]/.test(Function.prototype.toString.call(f));
    }

    function inspected(value, indent, above) {
        var deeper = indent + '    ', text, key, k;
        switch (typeof value) {
        case 'undefined': return 'undefined';
        case 'number': return 'Number(' + (isFinite(value) && Math.abs(value) < 1e21 ? value.toFixed(6) : value) + ')';
        case 'string': return 'String(' + value + ')';
        case 'boolean': return 'Boolean(' + value + ')';
        case 'function': return isNative(value) ? 'NativeFn' : 'Function';
        case 'symbol': return 'Symbol()';
        }
        if (value === null) {
            return 'null';
        }
        if (above.indexOf(value) >= 0 || above.length >= 16) {
            return '…';
        }
        above = above.concat([value]);
        if (Array.isArray(value)) {
            text = 'Array(' + value.length + ') [\n';
            for (k = 0; k < value.length; k++) {
                text += deeper + inspected(value[k], deeper, above) + '\n';
            }
            return text + indent + ']';
        }
        text = 'Object {\n';
        for (key in value) {
            text += deeper + key + ' = ' + inspected(value[key], deeper, above) + '\n';
        }
        return text + indent + '}';
    }

    /**
     * A readable dump of its arguments, types shown, one `$N = …` for each.
     * @returns {string}
     */
    Sys.inspect = function () {
        var text = '', k;
        for (k = 0; k < arguments.length; k++) {
            text += '$' + k + ' = ' + inspected(arguments[k], '', []) + '\n';
        }
        return text;
    };

    /** Writes inspect() of its arguments to standard output. */
    Sys.dump = function () {
        host.now('sys.print', Sys.inspect.apply(Sys, arguments));
    };
}(this.host, this));
