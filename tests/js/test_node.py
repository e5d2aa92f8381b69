"""The iteration methods against node: the same random programs there and here, with and without waiting inside."""
import json
import random
import shutil
import subprocess

import pytest
from handlers import Session, policy_of
from js.test_library import HARNESS, WAITED

# Says what a value is in a way that both sides share; `tick` is what waits here.
DESCRIBE = """
function told(value) {
    if (value === undefined) return 'undefined';
    if (typeof value === 'number') return value === 0 && 1 / value < 0 ? '-0' : String(value);
    if (Array.isArray(value)) {
        var text = '[', i;
        for (i = 0; i < value.length; i++) text += (i ? ',' : '') + (i in value ? told(value[i]) : '_');
        return text + ']';
    }
    if (typeof value === 'object' && value !== null) {
        return '{' + Object.keys(value).sort().map(function (k) { return k + ':' + told(value[k]); }).join(',') + '}';
    }
    return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
function run(f) { try { return told(f()); } catch (e) { return 'throws ' + (e && e.name || e); } }
"""


class Programs:
    """Random expressions that iterate."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def item(self):
        return self.random.choice(["0", "1", "2", "-3", "10", "9", "0.5", "'a'", "'b'", "'10'", "''", "null", "undefined", "true",
                                   "[1]", "{k: 1}", "NaN", "-0"])

    def receiver(self):
        r = self.random
        items = [self.item() if r.random() < 0.85 else "" for _ in range(r.randrange(8))]
        literal = "[" + ", ".join(items) + ("," if items and not items[-1] else "") + "]"
        kind = r.randrange(8)
        if kind < 5:
            return literal
        if kind == 5:
            numbered = [f"{i}: {item}" for i, item in enumerate(items) if item]
            length = r.choice([len(items), max(len(items) - 1, 0), repr(str(len(items)))])
            return "({" + ", ".join([*numbered, f"length: {length}"]) + "})"
        if kind == 6:
            return "(function () { return arguments; }(" + ", ".join(item or "0" for item in items) + "))"
        return "'" + "".join(r.choice("abcab1") for _ in range(r.randrange(6))) + "'"

    def callback(self, arguments):
        r = self.random
        first, second = arguments.split(", ")[:2]
        effect = r.choice(["", "", "", "list.length = Math.max(list.length - 1, 0);",
                           "if (list.length < 12) list[list.length] = i;",
                           "delete list[i + 1];", "list[i + 1] = 'new';", "if (i === 3) throw new RangeError('three');",
                           "seen.push(i);", "seen.push(typeof this);", "seen.push(this === self);"])
        result = r.choice([first, f"typeof {first}", f"[{first}, i]", f"{first} > {second}", f"String({first}) + i", "i % 2",
                           "undefined", "i < 2", f"!{first}", "list.length"])
        if r.random() < 0.5:
            effect = effect if "list[" not in effect and "length" not in effect else ""
        return f"function ({arguments}) {{ {effect} return tick({result}); }}"

    def iteration(self):
        r = self.random
        method = r.choice(["forEach", "map", "filter", "some", "every", "reduce", "reduceRight", "sort"])
        receiver = self.receiver()
        if method == "sort":
            callback = r.choice(["undefined", "function (a, b) { return tick(a - b); }",
                                 "function (a, b) { return tick(b - a); }",
                                 "function (a, b) { return tick(String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0); }",
                                 "null", "{}"])
            if callback == "undefined" or "b) ?" in callback:      # an inconsistent order may give anything
                receiver = receiver.replace("NaN", "7").replace("{k: 1}", "8").replace("[1]", "6").replace("undefined", "5")
            if "a - b" in callback or "b - a" in callback:
                receiver = "[" + ", ".join(str(r.randrange(20)) for _ in range(r.randrange(12))) + "]"
            call = f"Array.prototype.sort.call(list, {callback})"
        elif method.startswith("reduce"):
            start = r.choice(["", f", {self.item()}"])
            call = f"Array.prototype.{method}.call(list, {self.callback('sum, v, i, list')}{start})"
        else:
            call = f"Array.prototype.{method}.call(list, {self.callback('v, i, list')}{r.choice(['', ', self'])})"
        return f"var list = {receiver}, seen = [], self = {{}}; var result = {call}; return [result, list, seen];"

    def replacement(self):
        r = self.random
        text = "".join(r.choice(["a", "b", "ab", "1", "22", "\\u00e9", " ", "$&"]) for _ in range(r.randrange(8)))
        pattern = r.choice(["'a'", "''", "'$&'", "/a/", "/a/g", "/(a)(b)?/g", "/\\d+/g", "/x*/g", "/(?=b)/g", "/^|$/g",
                            "/(\\w)(\\1)?/g",
                            "/[ab]/gi", "/b|(a)/", "5", "undefined", "null"])
        callback = r.choice(["function () { return tick(arguments.length); }",
                             "function (m) { return tick('<' + m + '>'); }",
                             "function (m, a, b) { seen.push(a, b); return tick(a); }",
                             "function () { return '$&$1'; }",
                             "function (m) { if (m === 'b') throw new RangeError('b'); return tick(m); }",
                             "'[$&]'", "function () {}"])
        return (f"var seen = [], pattern = {pattern}; "
                f"return ['{text}'.replace(pattern, {callback}), seen, pattern && pattern.lastIndex];")

    def function(self):
        strict = self.random.choice(["", "'use strict'; "])
        body = self.iteration() if self.random.random() < 0.75 else self.replacement()
        return f"function () {{ {strict}{body} }}"


def test_programs_behave_as_in_node(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    programs = Programs(5)
    functions = [programs.function() for _ in range(1500)]
    script = DESCRIBE + "function tick(x) { return x; }\nvar all = [\n" + ",\n".join(functions) + "];\n"
    path = tmp_path / "programs.js"
    path.write_text(script + "console.log(JSON.stringify(all.map(run)));", "utf-8")
    expected = json.loads(subprocess.run(["node", path], check=True, capture_output=True, text=True, timeout=30).stdout)

    # No eval here: nothing can wait below it.
    script += "SmtpServer.prototype.smtpExpn = function (number) { return new SmtpResponse(250, run(all[number])); };\n"
    calm = policy_of(tmp_path, HARNESS + script)
    script = script.replace("function tick(x) { return x; }", "var tick = wait;")
    waiting = policy_of(tmp_path, HARNESS + script, name="waiting.js")
    for policy in (calm, waiting):
        session = Session(policy, WAITED, operations=10**6)
        actual = [session.run("smtpExpn", str(number))[2] for number in range(len(functions))]
        differences = [row for row in zip(functions, expected, actual, strict=True) if row[1] != row[2]]
        assert differences == []
        assert (policy is waiting) == bool(session.asked)
        session.close()
