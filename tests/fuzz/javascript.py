"""JavaScript made from octets by a grammar: each choice takes one octet, and where there are no more the first, simplest
one is made. So an octet changed or left out is a program changed a little.

It is made to be awkward: built-ins called on what they were not made for, getters and traps that throw, loop or ask
for something, prototypes changed, memory and time used up. Must not know what runs it.
"""

NAMES = ("a", "b", "c", "kept", "self")
PROPERTIES = ("length", "x", "0", "prototype", "constructor", "toString", "valueOf", "toJSON", "message", "stack", "name",
              "__proto__", "code", "lastIndex", "buffer", "byteLength", "fileName", "lineNumber", "4294967295")
GLOBALS = ("Object", "Array", "String", "Number", "Function", "Error", "RegExp", "Date", "JSON", "Math", "Uint8Array",
           "Float64Array", "ArrayBuffer", "DataView", "Proxy", "Reflect", "Symbol", "Duktape", "Duktape.Thread", "Map", "Set",
           "Promise", "SmtpResponse", "SmtpHeader", "SmtpPath", "Sys", "this")
METHODS = (
    "toString", "push", "pop", "shift", "unshift", "splice", "slice", "concat", "join", "reverse", "sort", "indexOf", "map",
    "forEach", "filter", "reduce", "reduceRight", "every", "some", "replace", "split", "match", "search", "charCodeAt",
    "substr", "trim", "toUpperCase", "localeCompare", "toFixed", "toPrecision", "exec", "test", "call", "apply", "bind",
    "hasOwnProperty", "set", "subarray", "fill", "copyWithin", "getUint16", "setFloat64", "keys", "create", "freeze",
    "defineProperty", "getOwnPropertyNames", "setPrototypeOf", "stringify", "parse", "fromCharCode", "isArray", "assign", "from",
    "random", "now", "gc", "enc", "dec", "fin", "compact", "info", "act", "yield", "resume", "allocPlain", "getTime",
    "setting", "inspect", "construct", "ownKeys", "for", "normalize", "padStart", "repeat", "find", "includes")
LITERALS = (
    "0", "1", "-1", "NaN", "Infinity", "4294967296", "1e21", "-0", "0.1", "''", "'x'", "'\\u0000\\ud800'", "'\\udcff\\udc80'",
    "'toString'", "null", "undefined", "true", "[]", "{}", "[,1,]", "[[[]]]", "/a*?b/g", "/^(a+)+$/", "/(?:)/", "/[^]/i",
    "new Array(1000)", "new Array(1e9)", "new Uint8Array(64)", "new Uint8Array(1e5)", "new Error('made')", "new Date(0)",
    "Symbol('s')", "Object.create(null)", "new Array(2000).join('ab')", "function () {}", "arguments", "Duktape.Pointer",
    "new Float64Array([1, 2]).subarray(1)", "Sys.setting('x', 'y')", "Date.now()", "new SmtpClient('h', 25)")
OPERATORS = ("+", "-", "*", "/", "%", "<", "===", "==", "&", "|", ">>>", "in", "instanceof", ",", "&&", "||")
ENDLESS = ("while (1) ;", "for (;;) { try { f(); } catch (e) { } }", "for (;;) a = [a, b];", "for (;;) a = '' + a + a;",
           "for (;;) try { throw 1; } finally { continue; }", "/^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab');",
           "for (;;) new Uint8Array(1e4).set(new Uint8Array(1e4));", "for (;;) Duktape.gc();",
           "for (;;) { try { ask('endless'); } catch (e) { } }")
DEPTH = 5


class Choices:
    """The octets, taken one by one."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        """A number below `count`; 0 when the octets are used up."""
        if self.at >= len(self.data):
            return 0
        self.at += 1
        return self.data[self.at - 1] % count

    def of(self, options):
        return options[self.take(len(options))]

    @property
    def left(self):
        return len(self.data) - self.at


def expression(choices, depth=0):
    """One expression."""
    kind = choices.take(3 if depth >= DEPTH else 16)

    def inner():
        return expression(choices, depth + 1)

    if kind == 0:
        return choices.of(LITERALS)
    if kind == 1:
        return choices.of(NAMES)
    if kind == 2:
        return choices.of(GLOBALS)
    if kind in (3, 4):
        return f"{inner()}.{choices.of(METHODS)}({inner()}, {inner()})"
    if kind == 5:
        return f"({inner()})[{inner()}]"
    if kind == 6:
        return f"({inner()} {choices.of(OPERATORS)} {inner()})"
    if kind == 7:
        return f"[{inner()}, {inner()}, {inner()}]"
    if kind == 8:
        return f"({{{choices.of(PROPERTIES)!r}: {inner()}, b: {inner()}}})"
    if kind == 9:
        return f"ask({choices.of(LITERALS)}, {inner()})"
    if kind == 10:
        return f"(function (a, b) {{ {statement(choices, depth + 1)} return {inner()}; }})"
    if kind == 11:
        return (f"Object.defineProperty({inner()}, {choices.of(PROPERTIES)!r}, {{configurable: true, enumerable: true, "
                f"get: function () {{ {statement(choices, depth + 1)} return {inner()}; }}}})")
    if kind == 12:
        return (f"new Proxy(Object({inner()}), {{{choices.of(('get', 'set', 'has', 'ownKeys', 'deleteProperty'))}: "
                f"function (t, k) {{ {statement(choices, depth + 1)} return {inner()}; }}}})")
    if kind == 13:
        return f"wait({choices.of(LITERALS)}, {inner()})"
    if kind == 14:
        return f"new {choices.of(GLOBALS)}({inner()}, {inner()})"
    return f"(function f(n) {{ return n > {choices.of((10, 1000, 100000))} ? {inner()} : f(n + 1); }}(0))"


def statement(choices, depth=0):
    """One statement, or none."""
    kind = choices.take(4 if depth >= DEPTH else 16)

    def inner():
        return expression(choices, depth + 1)

    if kind == 0:
        return ""
    if kind == 1:
        return f"{choices.of(NAMES[:3])} = {inner()};"
    if kind == 2:
        return f"{inner()};"
    if kind == 3:
        return f"kept[{choices.of(PROPERTIES)!r}] = {inner()};"
    if kind == 4:
        return f"if ({inner()}) {{ {statement(choices, depth + 1)} }} else {{ {statement(choices, depth + 1)} }}"
    if kind == 5:
        return f"for (var i = 0; i < {choices.of((3, 50, 1000))}; i++) {{ {statement(choices, depth + 1)} }}"
    if kind in (6, 7, 8):
        return f"try {{ {statement(choices, depth + 1)} }} catch (e) {{ a = e; {statement(choices, depth + 1)} }}"
    if kind == 9:
        return f"for (var k in {inner()}) {{ {statement(choices, depth + 1)} }}"
    if kind == 10:
        return f"try {{ {statement(choices, depth + 1)} }} finally {{ {statement(choices, depth + 1)} }}"
    if kind == 11:
        return f"throw {inner()};"
    if kind == 12:
        return f"{choices.of(GLOBALS)}.prototype.{choices.of(METHODS)} = {inner()};"
    if kind == 13:
        return f"Duktape.fin({inner()}, function () {{ {statement(choices, depth + 1)} }});"
    if kind == 14:
        return f"return {inner()};"
    return choices.of(ENDLESS) if choices.take(3) == 1 else f"delete {choices.of(GLOBALS)}.{choices.of(METHODS)};"


def program(choices):
    """The body of a function of self and kept; a, b and c are its variables."""
    lines = [statement(choices) for _ in range(1 + choices.take(6))]
    return ("var a = [], b = {x: 1}, c = 'text';\nfunction f() { return a; }\n"
            + "\n".join(line for line in lines if line) + f"\nreturn {expression(choices)};")


def value(choices, undefined, depth=0):
    """A Python value that may cross into JavaScript, or may not."""
    kind = choices.take(8 if depth >= 3 else 12)
    if kind < 8:
        return (None, 1, "text", b"\xff\x80abc", 2**60, float("nan"), bytearray(b"\0\1"), undefined)[kind]
    if kind == 8:
        return [value(choices, undefined, depth + 1) for _ in range(choices.take(5))]
    if kind == 9:
        return {("k", "\u00e9", "length", "__proto__")[i % 4]: value(choices, undefined, depth + 1)
                for i in range(choices.take(5))}
    if kind == 10:
        return ("\ud800\udcff", {1: 2}, object, "x" * 5000, b"\xfe" * 300)[choices.take(5)]
    return [[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]
