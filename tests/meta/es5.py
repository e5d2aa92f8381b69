"""Checks that JavaScript files are ES5, plus `const`: what the engine under the policies understands everywhere.

    python tests/meta/es5.py FOLDER_OR_FILE ...

Prints `file:line:column: what` for each construct that is newer, and for syntax errors; exit status 1 if there are any.
The parser is the one in dukpy, which a policy written in newer JavaScript is compiled with; it parses everything,
and the tree is searched here for what ES5 does not have.
"""
import sys
from pathlib import Path

# Loaded once, then called once a file: it takes most of a second.
_SEARCH = r"""
var FINE = {};
("File Program EmptyStatement BlockStatement ExpressionStatement IfStatement LabeledStatement BreakStatement " +
 "ContinueStatement WithStatement SwitchStatement SwitchCase ReturnStatement ThrowStatement TryStatement CatchClause " +
 "WhileStatement DoWhileStatement ForStatement ForInStatement DebuggerStatement FunctionDeclaration " +
 "FunctionExpression VariableDeclaration VariableDeclarator ThisExpression ArrayExpression ObjectExpression " +
 "ObjectProperty ObjectMethod UnaryExpression UpdateExpression BinaryExpression AssignmentExpression " +
 "LogicalExpression MemberExpression ConditionalExpression CallExpression NewExpression SequenceExpression " +
 "Identifier StringLiteral NumericLiteral BooleanLiteral NullLiteral RegExpLiteral Directive DirectiveLiteral"
).split(' ').forEach(function (type) { FINE[type] = true; });

function newer(node) {
    if (!FINE[node.type]) return node.type;
    switch (node.type) {
    case 'VariableDeclaration':
        return node.kind === 'let' ? 'let' : null;
    case 'ObjectProperty':
        return node.computed ? 'computed property name' : node.shorthand ? 'shorthand property' : null;
    case 'ObjectMethod':
        return node.computed ? 'computed property name' : node.kind === 'method' ? 'shorthand method' : null;
    case 'FunctionDeclaration':
    case 'FunctionExpression':
        return node.generator ? 'generator function' : node.async ? 'async function' : null;
    case 'BinaryExpression':
        return node.operator === '**' ? '** operator' : null;
    case 'AssignmentExpression':
        return node.operator === '**=' ? '**= operator' : null;
    case 'NumericLiteral':
        return node.extra && /^0[bo]/i.test(node.extra.raw) ? 'binary or octal literal' : null;
    case 'StringLiteral':
        return node.extra && /\\u\{/.test(node.extra.raw) ? '\\u{...} escape' : null;
    case 'RegExpLiteral':
        return /[^gim]/.test(node.flags) ? 'regular expression flag ' + node.flags : null;
    }
    return null;
}

function search(node, found) {
    var what, key, child;
    if (node instanceof Array) {
        for (key = 0; key < node.length; key++) if (node[key]) search(node[key], found);
        return;
    }
    if (typeof node.type !== 'string' || !node.loc) return;
    what = newer(node);
    if (what) {
        found.push([node.loc.start.line, node.loc.start.column + 1, what]);
        return;
    }
    for (key in node) {
        child = node[key];
        if (child && typeof child === 'object' && !/comments$|^loc$|^tokens$|^extra$/i.test(key)) search(child, found);
    }
}

function examine(source) {
    var found = [], tree;
    try {
        tree = Babel.transform(source, {code: false, ast: true, babelrc: false, presets: [], plugins: [],
                                        sourceType: 'script', highlightCode: false}).ast;
    } catch (error) {
        return [[error.loc ? error.loc.line : 1, error.loc ? error.loc.column + 1 : 1,
                 String(error.message).split('\n')[0]]];
    }
    search(tree.program, found);
    return found;
}
"""


class Checker:
    """The parser, loaded. `problems(source)` gives a list of [line, column, what]."""

    def __init__(self):
        import dukpy
        import dukpy.babel
        self._interpreter = dukpy.JSInterpreter()
        self._interpreter.evaljs(Path(dukpy.babel.BABEL_COMPILER).read_text("utf-8"))
        self._interpreter.evaljs(_SEARCH + "; null")

    def problems(self, source):
        return self._interpreter.evaljs("examine(dukpy.source)", source=source)


def files_in(places):
    """All .js files in these files and folders, sorted."""
    found = []
    for place in map(Path, places):
        found += sorted(place.rglob("*.js")) if place.is_dir() else [place]
    return found


def main(places):
    checker = Checker()
    status = 0
    for path in files_in(places):
        for line, column, what in checker.problems(path.read_text("utf-8")):
            print(f"{path}:{line}:{column}: not ES5: {what}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
