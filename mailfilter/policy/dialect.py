"""Which JavaScript a policy may be written in: how the compilers are asked, and words for what they do not know.

The programs here run beside Babel and the TypeScript compiler that dukpy carries, in the heap of each.

Must not know: files, heaps, caches.
"""
import json
import re

__all__ = ["BABEL", "NO_ASYNC", "REGEXP", "TYPESCRIPT", "TYPESCRIPT_SYNTAX", "UNKNOWN", "explained", "regexp_problem",
           "unknown_name"]

NO_ASYNC = "calls wait by themselves: leave out async and await"

NO_EXPORT = "a policy exports nothing; put what others need into a module"

TYPESCRIPT_SYNTAX = "TypeScript 1.8"
"""What the TypeScript compiler here understands; newer syntax is an error."""

BABEL = f"var noAsync = {json.dumps(NO_ASYNC)}, noExport = {json.dumps(NO_EXPORT)};" + r"""
host.entries(function compileBabel(name, source, kind) {
    function refuse(path, text) {
        var error = new SyntaxError(text);
        error.loc = path.node.loc && path.node.loc.start;
        throw error;
    }

    function ours(babel) {
        /* A built-in makes a new object, whatever `this` is: give it the prototype of the subclass. */
        var base = babel.template('(function (B) { function E() { return Object.setPrototypeOf(' +
            'Reflect.construct(B, arguments), Object.getPrototypeOf(this)); } ' +
            'E.prototype = B.prototype; return Object.setPrototypeOf(E, B); }(NAME))');
        var builtIn = /^(Array|Date|Number|Object|RegExp|String|Uint8Array|(Eval|Range|Reference|Syntax|Type|URI)?Error)$/;
        var look = {
            Function: function (path) {
                if (path.node.async) refuse(path, noAsync);
            },
            AwaitExpression: function (path) { refuse(path, noAsync); },
            Class: function (path) {
                var above = path.node.superClass;
                if (above && above.type === 'Identifier' && builtIn.test(above.name) &&
                        !path.scope.hasBinding(above.name, true)) {
                    path.node.superClass = base({NAME: above}).expression;
                }
            }
        };
        ['ExportNamedDeclaration', 'ExportDefaultDeclaration', 'ExportAllDeclaration'].forEach(function (type) {
            look[type] = function (path) {
                if (kind === 'policy') refuse(path, noExport);
            };
        });
        return {visitor: {Program: function (path) { path.traverse(look); }}};
    }

    function transform(module) {
        return Babel.transform(source, {
            babelrc: false, filename: name, highlightCode: false, comments: false, compact: false, sourceMaps: true,
            sourceType: module ? 'module' : 'script',
            parserOpts: {allowReturnOutsideFunction: kind === 'module' && !module},
            presets: [['es2015', {modules: module ? 'commonjs' : false}]],
            plugins: [ours, 'transform-class-properties', ['transform-object-rest-spread', {useBuiltIns: true}],
                      'syntax-trailing-function-commas']
        });
    }

    var result;
    try {
        try {
            result = transform(false);
        } catch (error) {
            if (!/may appear only with 'sourceType: "?module/.test(error.message)) throw error;
            result = transform(true);
        }
    } catch (error) {
        return {error: String(error.message), line: error.loc ? error.loc.line : null,
                column: error.loc ? error.loc.column : null, name: error.name};
    }
    return {code: result.code, mappings: result.map.mappings};
});
"""

TYPESCRIPT = f"var noAsync = {json.dumps(NO_ASYNC)}, noExport = {json.dumps(NO_EXPORT)};" + r"""
host.entries(function compileTypeScript(name, source, kind) {
    var tree = ts.createSourceFile(name, source, ts.ScriptTarget.ES6, true), refused = null, out, first, place;

    function at(position, text) {
        place = ts.getLineAndCharacterOfPosition(tree, position);
        return {error: text, line: place.line + 1, column: place.character, name: 'SyntaxError'};
    }
    function has(node, kind) {
        return !!node.modifiers && node.modifiers.some(function (modifier) { return modifier.kind === kind; });
    }
    function look(node) {
        if (refused) return;
        if (node.kind === ts.SyntaxKind.AwaitExpression || has(node, ts.SyntaxKind.AsyncKeyword)) {
            refused = at(node.getStart(tree), noAsync);
        } else if (kind === 'policy' && node.parent === tree && (node.kind === ts.SyntaxKind.ExportAssignment ||
                   node.kind === ts.SyntaxKind.ExportDeclaration || has(node, ts.SyntaxKind.ExportKeyword))) {
            refused = at(node.getStart(tree), noExport);
        } else {
            ts.forEachChild(node, look);
        }
    }

    out = ts.transpileModule(source, {
        compilerOptions: {target: ts.ScriptTarget.ES6, module: ts.ModuleKind.CommonJS, newLine: 1, sourceMap: true,
                          removeComments: true},
        reportDiagnostics: true, fileName: name
    });
    first = (out.diagnostics || [])[0];
    if (first) return at(first.start || 0, ts.flattenDiagnosticMessageText(first.messageText, ' '));
    look(tree);
    return refused || {
        code: out.outputText.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n'),
        mappings: JSON.parse(out.sourceMapText).mappings
    };
});
"""

# (what stands in the text around the place of the error, the remedy). `|` marks the place.
_NEWER = (
    (re.compile(r"\?\|?\.|\?\.\|"), "write a && a.b; optional chaining (?.) is newer than what can be compiled"),
    (re.compile(r"\?\|?\?|\?\?\|"), "write a !== undefined ? a : b; the operator ?? is newer than what can be compiled"),
    (re.compile(r"\bstatic\s*\|\s*\{"), "write what is in it after the class; static blocks are newer than what can be compiled"),
    (re.compile(r"\bawait\s+\|?|\|\s*await\b|\basync\s*\|"), NO_ASYNC),
    (re.compile(r"\|?(?:\|\||&&)\|?=|\|\|\|="), "write a = a || b; the operators ||= and &&= are too new to be compiled"),
    (re.compile(r"#\|?\w|\|#"), "private members (#name) are newer than what can be compiled"),
    (re.compile(r"\d\|n\b|\|\d+n\b"), "big integers are newer than what can be compiled"),
    (re.compile(r"\bimport\s*\|\s*\(|\|\s*import\s*\("), "write require(\"./module\")"),
)

_TIMERS = "a handler runs when the client has said something"
_NO_MODULE = "the policy itself is no module and exports nothing"
_NO_BROWSER = "a policy sees what docs/reference/api.md lists, and the JavaScript language"

_UNKNOWN = {
    "Promise": NO_ASYNC,
    "setTimeout": _TIMERS, "setInterval": _TIMERS, "setImmediate": _TIMERS, "clearTimeout": _TIMERS, "queueMicrotask": _TIMERS,
    "console": "write Sys.log(Sys.LOG_INFO, text)",
    "process": "settings are read with Sys.setting(name)",
    "exports": _NO_MODULE, "module": _NO_MODULE,
    "structuredClone": "write JSON.parse(JSON.stringify(value))",
    "Intl": _NO_BROWSER, "fetch": _NO_BROWSER, "XMLHttpRequest": _NO_BROWSER, "Buffer": _NO_BROWSER, "URL": _NO_BROWSER,
    "btoa": _NO_BROWSER, "atob": _NO_BROWSER, "crypto": _NO_BROWSER, "window": _NO_BROWSER, "document": _NO_BROWSER,
    "let": "put the name on the line of let",
}


REGEXP = "named groups, look-behind and the flags s, u and y are newer than the engine"

_REGEXP = (
    (re.compile(r"\(\?<[=!]"), "look-behind, (?<=…) and (?<!…), is newer than the engine; match more and take a group of it"),
    (re.compile(r"\(\?<"), "named groups, (?<name>…), are newer than the engine; take groups by their number"),
    (re.compile(r"\\[pP]\{"), "\\p{…} is newer than the engine; write the characters out, [A-Za-z\\u00c0-\\u024f]"),
)
_FLAGS = {"s": "the flag s is newer than the engine; write [\\s\\S] for the dot",
          "y": "the flag y is newer than the engine; use g, and compare the index of what was found with lastIndex",
          "d": "the flag d is newer than the engine", "v": "the flag v is newer than the engine"}


def regexp_problem(literal):
    """What a regular expression as it is written, /a/g, has that the engine does not know: (offset in it, what to do); None."""
    end = literal.rindex("/")
    # A bracket that is a character: escaped, or in a class.
    plain = re.sub(r"\\[^pP]|\[(?:[^\]\\]|\\.)*\]", lambda found: " " * len(found[0]), literal[:end])
    for pattern, remedy in _REGEXP:
        found = pattern.search(plain) or pattern is _REGEXP[2][0] and pattern.search(literal[:end])
        if found:
            return found.start(), remedy
    for at, flag in enumerate(literal[end + 1:], end + 1):
        if flag in _FLAGS:
            return at, _FLAGS[flag]
    return None


UNKNOWN = frozenset(_UNKNOWN)
"""Names that authors know from elsewhere."""


def explained(message, source, line, column, typescript=False):
    """The message of a syntax error at (line from 1, column from 0), with the remedy where one is known."""
    remedy = _remedy(source, line, column)
    if remedy is None and typescript and message not in (NO_ASYNC, NO_EXPORT):
        remedy = f"policies are compiled by {TYPESCRIPT_SYNTAX}"
    return f"{message}: {remedy}" if remedy and remedy not in message else message


def _remedy(source, line, column):
    lines = source.split("\n")
    if line is None or column is None or not 0 < line <= len(lines):
        return None
    text = lines[line - 1]
    around = text[max(column - 8, 0):column] + "|" + text[column:column + 8]
    for pattern, remedy in _NEWER:
        found = pattern.search(around)
        at = max(0, min(column, 8))
        if found and found.start() <= at + 1 and found.end() >= at - 1:
            return remedy
    return None


def unknown_name(name):
    """What to write instead of a name that is known elsewhere but not here, or None."""
    return _UNKNOWN.get(name)
