// SmtpPath, SmtpHeader, SmtpResponse.

test("an empty path", function () {
    var path = new SmtpPath();
    same(path.toString(), "<>");
    same([path.domains, path.mailbox, path.params], [[], {local: null, domain: null}, {}]);
});
test("paths that parse", function () {
    [["<a@b.c>", "<a@b.c>", "", "a", "b.c"], ["<a@b> SIZE=10", "<a@b>", " SIZE=10", "a", "b"],
        ["<>", "<>", "", null, null], ["<postmaster>", "<postmaster>", "", "postmaster", null],
        ["<PostMaster>x", "<PostMaster>", "x", "PostMaster", null], [' <"a b"@c> ', '<"a b"@c>', " ", '"a b"', "c"],
        ["<a@[192.0.2.1]>", "<a@[192.0.2.1]>", "", "a", "[192.0.2.1]"], ["<a..b@docomo.example>", "<a..b@docomo.example>", "", "a..b", "docomo.example"]
    ].forEach(function (row) {
        var path = new SmtpPath();
        same(path.parse(row[0]), row[2], row[0]);
        same([path.toString(), path.mailbox.local, path.mailbox.domain], [row[1], row[3], row[4]], row[0]);
    });
});
test("a source route", function () {
    var path = new SmtpPath();
    same(path.parse("<@x.test,@y.test:a@b>"), "");
    same([path.domains, path.toString()], [["x.test", "y.test"], "<@x.test,@y.test:a@b>"]);
});
test("D1: paths that do not parse change nothing", function () {
    var path = new SmtpPath();
    path.parse("<a@b>");
    ["garbage", "", "a@b", "<a@b", "<a@>", "<@b>", "<a b@c>", "<a@b c>", "<a@b\r\n>", "<a\u0000@b>", undefined, null, 5, {}].forEach(
        function (text) {
            same(path.parse(text), null, String(text));
            same(path.toString(), "<a@b>", String(text));
        });
});
test("parse empties the parameters", function () {
    var path = new SmtpPath();
    path.params.SIZE = "1";
    path.parse("<a@b>");
    same(path.params, {});
});
test("a path may be changed by hand", function () {
    var path = new SmtpPath();
    path.mailbox = {local: "x"};
    same(path.toString(), "<x>");
    path.mailbox.domain = "y";
    path.domains.push("r");
    same(String(path), "<@r:x@y>");
    path.mailbox = null;
    throws(function () { path.toString(); }, /TypeError/);
});
test("parameters", function () {
    var path = new SmtpPath();
    path.params = {SIZE: "10", SMTPUTF8: true, BODY: "8BITMIME"};
    same(path.parameters(), " SIZE=10 SMTPUTF8 BODY=8BITMIME");
    same(path.parameters(["BODY", "OTHER"]), " BODY=8BITMIME");
    same(path.parameters([]), "");
    same(new SmtpPath().parameters(), "");
});
test("addresses are ASCII or UTF-8", function () {
    var path = new SmtpPath();
    same(path.parse("<\udcff\udc80x@b>"), null);
    same(path.parse("<\u00fc@b>"), "");
    same(path.toString(), "<\u00fc@b>");
});

test("headers", function () {
    var parts = ["x", "\ty  "], header = new SmtpHeader("A", parts);
    same([header.name, header.parts === parts, header.getValue(), header.toString()], ["A", true, "x y  ", "A: x\r\n\ty  "]);
    same(new SmtpHeader("A").parts, []);
    same(new SmtpHeader("A").toString(), "A: ");
    same(new SmtpHeader("A").getValue(), "");
    same(new SmtpHeader("A", null).parts, ["null"]);
    same(new SmtpHeader("A", undefined).parts, ["undefined"]);
    same(new SmtpHeader("A", 5).parts, ["5"]);
    same(new SmtpHeader(5, "x").name, "5");
    throws(function () { return new SmtpHeader(); }, /Invalid argument/);
    header = new SmtpHeader("Subject", "x");
    header.parts[0] = "[SPAM] " + header.parts[0];
    same(String(header), "Subject: [SPAM] x");
});
test("D20: refold", function () {
    var header = new SmtpHeader("X-Long", ["one two", "\tthree   four five six seven eight nine ten eleven twelve"]), width;
    var value = "one two three four five six seven eight nine ten eleven twelve";
    for (width = 1; width < 90; width++) {
        header.refold(width);
        same(header.getValue(), value, "value at " + width);
        header.toString().split("\r\n").forEach(function (line, i) {
            same(line.length <= width || line.trim().split(" ").length === (i ? 1 : 2), true, width + ": " + line);
            same(line.trim() !== "" && (i === 0) === (line.charAt(0) !== "\t"), true, width + ": " + line);
        });
    }
    header.refold();
    same(header.parts.length, 1);
    header.refold(40);
    same(header.parts, ["one two three four five six", "\tseven eight nine ten eleven twelve"]);
});
test("refold of odd values", function () {
    ["", " ", "x", "x ", " x", "\t", "x".concat(new Array(200).join("y")), "a " + new Array(100).join("y") + " b ",
        "aaaa bbbb ", "aaaaa bbbbb      "].forEach(function (value) {
        [1, 5, 10, 11, 12, 78].forEach(function (width) {
            var header = new SmtpHeader("N", value), words = value.split(/[ \t]+/).filter(function (w) { return w; });
            header.refold(width);
            same(header.getValue().split(/[ \t]+/).filter(function (w) { return w; }), words, show(value) + " at " + width);
            same(header.parts.length >= 1, true);
            header.parts.forEach(function (part, i) {
                same(i === 0 || /^\t\S/.test(part), true, "part " + show(part) + " of " + show(value) + " at " + width);
            });
        });
    });
    [0, -1, NaN, "x", null, {}].forEach(function (width) {
        throws(function () { new SmtpHeader("A", "b").refold(width); }, /RangeError/);
    });
    var empty = new SmtpHeader("A");
    empty.refold(10);
    same(empty.getValue(), "");
});

test("responses", function () {
    var lines = ["a", "b"], response = new SmtpResponse(250, lines);
    same([response.code, response.message === lines, response.disconnect], [250, true, false]);
    same(new SmtpResponse("250", "x").code, 250);
    same(new SmtpResponse(250.9, 5).code, 250);
    same(new SmtpResponse(250, 5).message, "5");
    same(new SmtpResponse(250, null).message, "null");
    same(new SmtpResponse(250, "x", true).disconnect, true);
    same(new SmtpResponse(250, "x", 1).disconnect, false);
    same(new SmtpResponse(250, "x") instanceof SmtpResponse, true);
    throws(function () { return new SmtpResponse(250); }, /Invalid argument/);
    throws(function () { return new SmtpResponse(); }, /Invalid argument/);
    throws(function () { return (0, SmtpResponse)(250, "x"); }, /TypeError/);
    same([SmtpResponse.length, SmtpResponse.name, response.constructor === SmtpResponse], [3, "SmtpResponse", true]);
    same(Object.keys(response), ["code", "message", "disconnect"]);
    same(new SmtpResponse({valueOf: function () { return 451; }}, {toString: function () { return "made"; }}).message, "made");
    function Refusal(text) { SmtpResponse.call(this, 550, text); }
    Refusal.prototype = Object.create(SmtpResponse.prototype);
    same([new Refusal("no").code, new Refusal("no").message, new Refusal("no") instanceof SmtpResponse], [550, "no", true]);
});
