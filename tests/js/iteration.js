// The iteration methods of prelude.js: waiting inside each of them, and what ECMA-262 says of odd cases.

test("forEach waits", function () {
    var seen = [];
    [3, 1, 2].forEach(function (v, i, list) { seen.push(wait(v) * 10 + i + list.length / 10); });
    same(seen, [30.3, 11.3, 22.3]);
});
test("map waits", function () { same([1, 2, 3].map(function (v) { return wait(v * 2); }), [2, 4, 6]); });
test("filter waits", function () { same([1, 2, 3, 4].filter(function (v) { return wait(v % 2 === 0); }), [2, 4]); });
test("some waits", function () {
    var calls = 0;
    same([1, 2, 3].some(function (v) { calls++; return wait(v === 2); }), true);
    same(calls, 2);
});
test("every waits", function () {
    var calls = 0;
    same([1, 2, 3].every(function (v) { calls++; return wait(v < 2); }), false);
    same(calls, 2);
});
test("reduce waits", function () { same(["a", "b", "c"].reduce(function (a, v) { return wait(a + v); }), "abc"); });
test("reduceRight waits", function () { same(["a", "b", "c"].reduceRight(function (a, v) { return wait(a + v); }, ">"), ">cba"); });
test("sort waits", function () { same([3, 1, 2].sort(function (a, b) { return wait(a - b); }), [1, 2, 3]); });
test("replace waits", function () {
    same("a1b22".replace(/\d+/g, function (m) { return wait("<" + m + ">"); }), "a<1>b<22>");
});
test("waits nest", function () {
    same([1, 2].map(function (a) {
        return [3, 4].reduce(function (sum, b) {
            return sum + [b].filter(function () { return wait(true); }).map(function (c) { return wait(a * c); })[0];
        }, 0);
    }), [7, 14]);
});
test("a throw after a wait leaves the method", function () {
    var seen = [];
    throws(function () {
        [1, 2, 3].forEach(function (v) { seen.push(wait(v)); if (v === 2) throw new RangeError("enough"); });
    }, /RangeError: enough/);
    same(seen, [1, 2]);
});
test("waiting works through call, apply, bind, new and constructors", function () {
    function Waiter(v) { this.v = wait(v); }
    same(new Waiter(5).v, 5);
    same(wait.call(null, 1) + wait.apply(null, [2]) + wait.bind(null, 3)(), 6);
    same(Reflect.apply(wait, null, [4]), 4);
});
test("waiting works in finally and catch", function () {
    var seen = [];
    try { try { throw 1; } catch (e) { seen.push(wait(e)); throw 2; } finally { seen.push(wait(3)); } } catch (e) { seen.push(e); }
    same(seen, [1, 3, 2]);
});

test("holes are skipped", function () {
    var list = [1, , 3], seen = [];
    list.forEach(function (v, i) { seen.push(i); });
    same(seen, [0, 2]);
    same(list.map(function (v) { return v * 2; }), [2, , 6]);
    same(list.filter(function () { return true; }), [1, 3]);
    same([, ,].every(function () { return false; }), true);
    same([, ,].some(function () { return true; }), false);
    same([, 1, , 2].reduce(function (a, b) { return a + b; }), 3);
    same([, 1, , 2, ,].reduceRight(function (a, b) { return a + "," + b; }), "2,1");
    same([3, , 1, undefined, 2].sort(function (a, b) { return a - b; }), [1, 2, 3, undefined, ,]);
});
test("the this of callbacks", function () {
    "use strict";
    var self = {}, seen = [];
    ["forEach", "map", "filter", "some", "every"].forEach(function (method) {
        [1][method](function () { seen.push(this === self); }, self);
        [1][method](function () { seen.push(this === undefined); });
        [1][method](function () { seen.push(this === 5); }, 5);
    });
    same(seen.length, 15);
    same(seen.indexOf(false), -1);
});
test("lists that change while they are walked", function () {
    var list = [1, 2, 3], seen = [];
    list.forEach(function (v) { seen.push(v); if (list.length < 10) list.push(v * 10); });
    same(seen, [1, 2, 3]);
    list = [1, 2, 3, 4];
    same(list.map(function (v) { list.length = 2; return v; }), [1, 2, , ,]);
    list = [1, 2, 3];
    seen = [];
    list.forEach(function (v, i) { seen.push(v); delete list[i + 1]; });
    same(seen, [1, 3]);
    list = [1, 2, 3];
    same(list.reduce(function (a, v, i) { list[2] = 30; return a + v; }), 33);
});
test("array-likes", function () {
    var like = {0: "a", 2: "c", length: 3};
    same(Array.prototype.map.call(like, function (v) { return v + v; }), ["aa", , "cc"]);
    same(Array.prototype.filter.call("abc", function (v) { return v !== "b"; }), ["a", "c"]);
    same(Array.prototype.reduce.call({length: "2", 0: 1, 1: 2}, function (a, b) { return a + b; }), 3);
    same(Array.prototype.sort.call({0: 3, 1: 1, length: 2}, function (a, b) { return a - b; }), {0: 1, 1: 3, length: 2});
    same(Array.prototype.every.call({length: 0}, function () { return false; }), true);
    same((function () { return Array.prototype.map.call(arguments, String); }(1, 2)), ["1", "2"]);
});
test("callbacks that are none, receivers that are none", function () {
    ["forEach", "map", "filter", "some", "every", "reduce", "reduceRight"].forEach(function (method) {
        throws(function () { [1][method](); }, /TypeError/);
        throws(function () { [1][method]({}); }, /TypeError/);
        throws(function () { Array.prototype[method].call(null, function () {}); }, /TypeError/);
    });
    throws(function () { [1].sort({}); }, /TypeError/);
    throws(function () { [1].sort(null); }, /TypeError/);
    throws(function () { [].reduce(function () {}); }, /TypeError/);
    throws(function () { [, ,].reduceRight(function () {}); }, /TypeError/);
    same([].reduce(function () {}, 5), 5);
    same([].reduce(function () {}, undefined), undefined);
    same([7].reduce(function () { throw 1; }), 7);
});
test("sort is stable", function () {
    var list = [], i;
    for (i = 0; i < 500; i++)
        list[i] = {key: (i * 7) % 5, at: i};
    list.sort(function (a, b) { return a.key - b.key; });
    for (i = 1; i < 500; i++)
        same(list[i - 1].key < list[i].key || list[i - 1].key === list[i].key && list[i - 1].at < list[i].at, true, "at " + i);
    list = ["b", "a", "c"].map(function (t, i) { return {toString: function () { return "same"; }, at: i}; }).sort();
    same(list.map(function (o) { return o.at; }), [0, 1, 2]);
});
test("sort without a comparator goes by text", function () {
    same([10, 9, 1, undefined, "b", null, true, , "a"].sort(), [1, 10, 9, "a", "b", null, true, undefined, ,]);
    same([].sort(), []);
});
test("sort ends with any comparator", function () {
    var list = [], i, lies = [function () { return 1; }, function () { return -1; }, function () { return NaN; },
        function () { return Math.random() - 0.5; }, function () { return "x"; }, function () {}, function () { return {}; }];
    for (i = 0; i < 100; i++)
        list[i] = i;
    lies.forEach(function (lie) {
        var sorted = list.slice().sort(lie);
        same(sorted.length, 100);
        same(sorted.reduce(function (a, b) { return a + b; }), 4950);
    });
    same([2, 1].sort(function (a, b) { return a > b; }), [1, 2]);
});
test("sort gives what the list is, and throws what the comparator throws", function () {
    var list = [2, 1];
    same(list.sort(function (a, b) { return a - b; }) === list, true);
    throws(function () { [1, 2, 3].sort(function () { throw new Error("no order"); }); }, /no order/);
    same([1, 2].sort(undefined), [1, 2]);
});
test("replace with a function", function () {
    same("abc".replace("b", function (m, at, text) { return [m, at, text].join("|"); }), "ab|1|abcc");
    same("aXbX".replace("X", function () { return "-"; }), "a-bX");
    same("abc".replace(/(b)(x)?/, function (m, one, two, at, text) { return show([m, one, two, at, text]); }),
        'a["b", "b", undefined, 1, "abc"]c');
    same("abc".replace(/b/, function () { return "$&$1$$"; }), "a$&$1$$c");
    same("abc".replace(/x*/g, function (m, at) { return "<" + at + ">"; }), "<0>a<1>b<2>c<3>");
    same("aaa".replace(/a/g, function (m, at) { return at; }), "012");
    same("abc".replace(/b/, function () {}), "aundefinedc");
    same("abc".replace("", function () { return "^"; }), "^abc");
    same("abc".replace("x", function () { throw 1; }), "abc");
    same("a.c".replace(".", function () { return "!"; }), "a!c");
    same(String.prototype.replace.call(12321, 3, function () { return "x"; }), "12x21");
    throws(function () { String.prototype.replace.call(null, "a", function () {}); }, /TypeError/);
});
test("replace without a function is as it was", function () {
    same("abc".replace(/(b)/, "[$1$&$$]"), "a[bb$]c");
    same("aa".replace("a", "b"), "ba");
    same("aa".replace(/a/g, "$`x"), "xax");
});
test("replace leaves lastIndex as it must be", function () {
    var all = /a/g;
    all.lastIndex = 2;
    same("aaa".replace(all, function () { return "b"; }), "bbb");
    same(all.lastIndex, 0);
});
test("an inner use of the same expression does not disturb", function () {
    var all = /\d/g;
    same("1a2".replace(all, function (m) { return "3b4".replace(all, function (n) { return m + n; }); }), "13b14a23b24");
});
test("nothing of it is enumerable", function () {
    var key;
    for (key in [])
        throw new Error("Array.prototype." + key + " is enumerable");
    for (key in "")
        throw new Error("String.prototype." + key + " is enumerable");
    for (key in {})
        throw new Error("Object.prototype." + key + " is enumerable");
    for (key in new Date(0))
        throw new Error("Date.prototype." + key + " is enumerable");
    for (key in function () {})
        throw new Error("Function.prototype." + key + " is enumerable");
});
test("methods may be replaced and deleted as built-ins may", function () {
    var d = Object.getOwnPropertyDescriptor(Array.prototype, "forEach");
    same([d.writable, d.enumerable, d.configurable], [true, false, true]);
    Array.prototype.forEach = 5;
    same([].forEach, 5);
});

test("Date", function () {
    var before = Date.now(), made = new Date();
    same(made instanceof Date, true);
    same(Object.prototype.toString.call(made), "[object Date]");
    same(made.getTime() >= before && made.getTime() - before < 5000 && before > 1.7e12, true);
    same(new Date(0).toISOString(), "1970-01-01T00:00:00.000Z");
    same(new Date(2020, 1, 3, 4, 5, 6, 7).getMilliseconds(), 7);
    same(new Date(2020, 1).getDate(), 1);
    same(new Date("2020-01-02T03:04:05Z").getTime(), Date.UTC(2020, 0, 2, 3, 4, 5));
    same(isNaN(new Date(NaN)), true);
    same(isNaN(new Date(2020, 0, 1, NaN)), true);
    same(isNaN(new Date(2020, 0, undefined)), true);
    same(typeof Date(), "string");
    same(new Date(new Date(5)).getTime(), 5);
    same(made.constructor === Date, true);
    same(Date.prototype.constructor === Date, true);
});
test("random numbers", function () {
    var i, r, low = 0;
    for (i = 0; i < 200; i++) {
        r = Math.random();
        same(r >= 0 && r < 1, true);
        low += r < 0.5;
    }
    same(low > 40 && low < 160, true);
    same(performance.now() <= performance.now(), true);
});
