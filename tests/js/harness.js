// Before every file of tests here: test(name, function), same(actual, expected), throws(function, pattern), and
// wait(value), which makes the running handler wait for an operation and gives the value back.

var tests = {};

function test(name, run) { tests[name] = run; }

function show(value) {
    if (typeof value === "string")
        return JSON.stringify(value);
    if (typeof value === "number")
        return value === 0 && 1 / value < 0 ? "-0" : String(value);
    if (Array.isArray(value)) {
        var items = [], i;
        for (i = 0; i < value.length; i++)
            items[i] = i in value ? show(value[i]) : "hole";
        return "[" + items.join(", ") + "]";
    }
    if (value && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
        return "{" + Object.keys(value).map(function (key) { return key + ": " + show(value[key]); }).join(", ") + "}";
    }
    return String(value);
}

function same(actual, expected, what) {
    if (show(actual) !== show(expected))
        throw new Error((what ? what + ": " : "") + "got " + show(actual) + ", expected " + show(expected));
}

function throws(run, pattern) {
    var caught = null;
    try {
        run();
    } catch (error) {
        caught = String(error);
    }
    if (caught === null || !pattern.test(caught))
        throw new Error("expected a throw of " + pattern + ", got " + caught);
}

function wait(value) {
    new Maildir("wait").deliver([], "");
    return value;
}

SmtpServer.prototype.smtpHelp = function (name) { tests[name].call(this, this); };
SmtpServer.prototype.smtpVrfy = function (code) { return new SmtpResponse(250, String((0, eval)(code))); };
