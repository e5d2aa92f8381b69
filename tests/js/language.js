/*
 * What authors write who know today's JavaScript and not this engine: each function is run by node and by a policy, and what i
            t
 * returns must be the same as JSON. `ask(x)` gives x back; in the policy it waits before it does.
 */
var CASES = [
    function (ask) {
        let o = []; for (let i = 0; i < 3; i++) o.push(() => i); return o.map(f => f());
    },
    function (ask) {
        function* g(n){ let i = 0; while (i < n) yield ask(i++); } return [...g(3), ...[4,5]];
    },
    function (ask) {
        const {a = 1, b: {c = 2, ...r} = {d: 3}, ...rest} = {x: 9, y: 8}; return [a, c, r, rest];
    },
    function (ask) {
        function f(a, b = a + 1, {c = b * 2} = {}) { return [a, b, c]; } return f(1);
    },
    function (ask) {
        const t = (s, ...v) => s.raw.join('|') + v.join(','); return t`a\n${1}b${2}c`;
    },
    function (ask) {
        outer: for (const x of [1,2,3]) { for (const y of [1,2]) { if (y === 2) continue outer; if (x === 3) break outer; } }
        return 'done';
    },
    function (ask) {
        const k = 'dyn'; const o = {[k + 1]: 1, get g() { return 5; }, set g(v) {}, m() { return 7; }, async: 1};
        return [o.dyn1, o.g, o.m(), o.async];
    },
    function (ask) {
        const m = new Map([['a', 1], ['b', 2]]); let s = ''; for (const [k, v] of m) s += k + v;
        m.forEach((v, k) => { s += ask(k); }); return s;
    },
    function (ask) {
        const s = new Set([3, 1, 3]); let out = []; for (const x of s) out.push(ask(x)); s.forEach(x => out.push(ask(x)));
        return out;
    },
    function (ask) {
        function f() { let out = []; for (const a of arguments) out.push(a); return out; } return f(1, 2, 3);
    },
    function (ask) {
        function f() { return [...arguments].concat(Array.from(arguments)); } return f(1, 2);
    },
    function (ask) {
        let s = ''; for (const ch of 'a😀b') s += ch + '.'; return s;
    },
    function (ask) {
        const it = {*[Symbol.iterator]() { yield 1; yield ask(2); }}; return [...it, Math.max(...it)];
    },
    function (ask) {
        const it = {from: 1, to: 3, [Symbol.iterator]() { let c = this.from, l = this.to;
            return {next: () => c <= l ? {done: false, value: c++} : {done: true}}; }}; return Array.from(it,
            x => ask(x) * 2);
    },
    function (ask) {
        class A { static create(...a) { return new this(...a); } constructor(x = 1) { this.x = x; } get dbl() {
            return this.x * 2; } toString() { return `A(${this.x})`; } static get n() { return 'n';
            } } class B extends A { constructor(...a) { super(...a); this.y = 2; } get dbl() { return super.dbl + 1;
            } toString() { return 'B' + super.toString(); } } const b = B.create(5); return [b.dbl, `${b}`,
            b instanceof A, B.n, b.constructor.name];
    },
    function (ask) {
        return 1_000_000;
    },
    function (ask) {
        return /\u{1F600}/u.test('😀');
    },
    function (ask) {
        return [1,2,3].map(x => ask(x)).filter(x => ask(x) > 1).reduce((a, b) => a + ask(b), 0);
    },
    function (ask) {
        return [3,1,2].sort((a, b) => ask(a) - ask(b));
    },
    function (ask) {
        return 'a-b'.replace(/\w/g, c => ask(c).toUpperCase());
    },
    function (ask) {
        return new Map([[1, 2]]).size + new WeakMap().has({});
    },
    function (ask) {
        return Object.entries({a: 1, b: 2}).map(([k, v]) => `${k}=${v}`).join('&');
    },
    function (ask) {
        return [..."ab"].entries().next().value;
    },
    function (ask) {
        const a = [1, 2, 3]; const [x, , y = 4, ...z] = a; [a[0], a[1]] = [a[1], a[0]]; return [x, y, z, a];
    },
    function (ask) {
        return [1,[2,[3]]].flat(Infinity);
    },
    function (ask) {
        return Number.isInteger(5) && Number.parseFloat('1.5') === 1.5 && Number.EPSILON > 0 && Number.MAX_SAFE_INTEGER;
    },
    function (ask) {
        return ['a','b'].findLast(x => x === 'a');
    },
    function (ask) {
        return [1,2,3].at(-1) + 'abc'.at(-1);
    },
    function (ask) {
        return Object.hasOwn({a:1}, 'a');
    },
    function (ask) {
        return 'abc'.matchAll(/b/g).next().value[0];
    },
    function (ask) {
        return 'a'.codePointAt(0) + String.fromCodePoint(128512);
    },
    function (ask) {
        return Array.from({length: 3}, (_, i) => i);
    },
    function (ask) {
        return Reflect.ownKeys({a: 1}).concat(Reflect.has({b: 1}, 'b'));
    },
    function (ask) {
        return (5).toLocaleString() + 'a'.localeCompare('b');
    },
    function (ask) {
        try { null.x; } catch { return 'caught'; }
    },
    function (ask) {
        return 2 ** 10;
    },
    function (ask) {
        let x = 5; x **= 2; return x;
    },
    function (ask) {
        return ((a, b,) => a + b)(1, 2,);
    },
    function (ask) {
        return {...null, a: 1, ...'hi'};
    },
    function (ask) {
        switch (3) { case 1: let q = 1; break; default: let q2 = 5; return q2; }
    },
    function (ask) {
        return [1, 2, 3].includes(2) && 'abc'.includes('b') && 'abc'.startsWith('a') && 'x'.repeat(3).padEnd(5, '-');
    },
    function (ask) {
        var fn = function () { return new.target === undefined; }; return fn();
    },
    function (ask) {
        const ws = new WeakSet(); const o = {}; ws.add(o); return ws.has(o);
    },
    function (ask) {
        return [10, 9, 1].sort();
    },
    function (ask) {
        let {length} = 'abc'; return length;
    },
    function (ask) {
        const f = ([a, b] = [1, 2], {c} = {c: 3}) => a + b + c; return f();
    },
    function (ask) {
        for (const i in {a: 1, b: 2}) { if (i === 'b') return i; }
    },
    function (ask) {
        var s = 0; for (let i = 0, n = 3; i < n; i++) { s += i; } return s;
    },
    function (ask) {
        const o = {f() { return [1].map(() => this.v); }, v: 4}; return o.f();
    },
    function (ask) {
        return `a${`b${1 + 1}`}c` + 'x\
        y';
    },
    function (ask) {
        return 0b101 + 0o17 + 0xff;
    },
    function (ask) {
        return '\u{1F600}'.length;
    },
    function (ask) {
        return [..."a\u{1F600}"].length;
    },
    function (ask) {
        label: { break label; } return typeof undefinedThing;
    },
    function (ask) {
        var e = new Uint8Array([1, 2, 3]); let t = 0; for (const b of e) t += b; return t;
    },
    function (ask) {
        return new TextEncoder().encode('ä').length;
    },
    function (ask) {
        return Array.isArray(Array.prototype.concat.call([], [1]));
    },
    function (ask) {
        return Object.is(NaN, NaN) && Object.assign({}, {a: 1}).a === 1 && Object.setPrototypeOf({}, null) && true;
    },
    function (ask) {
        const d = new Date(2020, 1, 30); return d.getMonth();
    },
    function (ask) {
        return [1, 2, 3].lastIndexOf(3) + [1,2,3].indexOf(2);
    },
    function (ask) {
        class MyArr extends Array { sum() { return this.reduce((a, b) => a + b, 0); } } const a = new MyArr(); a.push(1, 2);
        return a.sum();
    },
    function (ask) {
        class M2 extends Map { getOr(k, d) { return this.has(k) ? this.get(k) : d; } } const m = new M2([['a', 1]]);
        return m.getOr('a', 0) + m.getOr('b', 5);
    },
    function (ask) {
        class E2 extends TypeError {} try { throw new E2('q'); }
        catch (e) { return [e instanceof E2, e instanceof TypeError, e.message, e.name, String(e)]; }
    },
    function (ask) {
        function* a() { const r = yield* b(); yield r; } function* b() { yield 1; return 2; } return [...a()];
    },
    function (ask) {
        function* g() { try { yield 1; yield 2; } finally { ask('f'); } } for (const x of g()) { if (x === 1) break; }
        return 'ok';
    },
    function (ask) {
        const g = (function* () { const x = yield 1; return x * 2; })(); g.next(); return g.next(21);
    },
    function (ask) {
        var getter = Object.defineProperty({}, 'x', {get: () => 5, enumerable: true}); return {...getter};
    },
    function (ask) {
        return (function () { 'use strict'; return this === undefined; })();
    },
    function (ask) {
        try { undefined_function(); } catch (e) { return e instanceof ReferenceError; }
    },
    function (ask) {
        const frozen = Object.freeze({a: 1}); (function () { frozen.a = 2; })(); return frozen.a;
    },
    function (ask) {
        { function inner() { return 1; } return inner(); }
    },
    function (ask) {
        if (true) { let z = 1; var y = z + 1; } return y;
    },
    function (ask) {
        return [...new Map([[1, 'a']]).keys(), ...new Map([[1, 'a']]).values(), ...new Set([1]).entries()];
    },
    function (ask) {
        return String([1, [2, 3]]) + [null, undefined, 1].join('-');
    },
    function (ask) {
        return parseInt('08') + Number('0x10') + Number('') + (+'1e3');
    },
    function (ask) {
        return 'a,b,c'.split(/,/g, 2).concat('abc'.substr(-2), ' x '.trim());
    },
    function (ask) {
        return [undefined, 3, 1].sort().concat([1,2].reverse());
    },
    function (ask) {
        return 'aXbX'.replaceAll('X', m => ask('y'));
    },
    function (ask) {
        return Array.from(new Set([1, 2]), x => ask(x));
    },
    function (ask) {
        return Object.fromEntries(new Map([['a', ask(1)]]));
    },
    function (ask) {
        return [1, 2, 3, 4].find(x => ask(x) > 2) + [1].findIndex(x => ask(true)) + [[1],[2]].flatMap(x => ask(x));
    },
    function (ask) {
        return new Array(3).fill(0).map((_, i) => i * 2);
    },
    function (ask) {
        function f() { let out = []; for (const a of arguments) out.push(a); return out; } return f(1, 2, 3);
    },
    function (ask) {
        function f() { const [a, b] = arguments; return a + b; } return f(1, 2);
    },
    function (ask) {
        function f() { return [...new Set(arguments)].length; } return f(1, 1, 2);
    },
    function (ask) {
        function* g() { yield* arguments; } return [...g(1, 2)];
    },
    function (ask) {
        try { for (const x of {a: 1}) { } } catch (e) { return 'no'; }
    },
    function (ask) {
        try { const [q] = {}; } catch (e) { return e instanceof TypeError; }
    },
    function (ask) {
        const o = {}; o[Symbol.iterator] = function* () { yield 4; }; return [...o].concat(Object.keys(o));
    },
    function (ask) {
        class MyArr extends Array { sum() { return this.reduce((a, b) => a + b, 0); } } const a = new MyArr(); a.push(1, 2);
        return [a.sum(), a.length, a instanceof MyArr, Array.isArray(a)];
    },
    function (ask) {
        class D extends Date { year() { return this.getUTCFullYear(); } } return new D(0).year();
    },
    function (ask) {
        class R extends RegExp { t(s) { return this.test(s); } } return new R('a').t('ba');
    },
    function (ask) {
        class O extends Object { constructor() { super(); this.x = 1; } y() { return this.x; } } return new O().y();
    },
    function (ask) {
        class E2 extends TypeError { constructor(m) { super(m); this.extra = 1; } } try { throw new E2('q'); }
        catch (e) { return [e instanceof E2, e.message, e.name, String(e), e.extra]; }
    },
    function (ask) {
        class E3 extends Error {} class E4 extends E3 {} try { throw new E4('q'); }
        catch (e) { return [e instanceof E3, e instanceof E4, e.message]; }
    },
    function (ask) {
        class C extends null { static s() { return 1; } } return C.s();
    },
    function (ask) {
        try { null.x; } catch { return 'caught'; }
    },
    function (ask) {
        try { try { null.x; } catch{ throw 1; } } catch
        { return 'caught'; } finally { ask(1); }
    },
    function (ask) {
        const s = 'catch {'; return s + `catch { ${s}`;
    },
    function (ask) {
        return [[1,2,3].at(-1), 'abc'.at(-1), [1,2,3].findLast(x => x < 3), [1,2].findLastIndex(x => x > 5),
            Object.hasOwn({a: 1}, 'a'), Object.hasOwn({}, 'toString')];
    },
    function (ask) {
        return [...'a1b22'.matchAll(/[a-z](\d+)/g)].map(m => m[1] + m.index);
    },
    function (ask) {
        return [...'aXbX'.matchAll('X')].length;
    },
    function (ask) {
        return /[(?<a>]/.test('<') + String(/\(?<x>/.test('<x>'));
    },
    function (ask) {
        let x = 10, g = 2, y = 5; return x / g / y;
    },
    function (ask) {
        return 'a.b'.split(/[/.]/).concat(/\//.source);
    },
    function (ask) {
        const o = {x: 1, get y() { return this.x + 1; }, ['z' + 1]: 3, async() { return 4; }, get: 5, set: 6, static: 7,
            of: 8}; return [o.y, o.z1, o.async(), o.get, o.set, o.static, o.of];
    },
    function (ask) {
        var of = 1, get = 2, async = 3; return of + get + async;
    },
    function (ask) {
        const {x: {y: [, z = 5] = []} = {}} = {}; return z;
    },
    function (ask) {
        const f = ({a, ...rest}, [b, ...more], c = () => a + b) => [c(), rest, more]; return f({a: 1, q: 2}, [3, 4]);
    },
    function (ask) {
        let a = 1, b = 2; [a, b] = [b, a]; ({a, b} = {a: b, b: a}); return [a, b];
    },
    function (ask) {
        const tag = (s, ...v) => v.map(f => f(3)); return tag`${x => x * 2}`;
    },
    function (ask) {
        var out = []; for (var [i, {v}] of [[1, {v: 2}]]) out.push(i, v); for (let {length} of ['ab']) out.push(length);
        return out;
    },
    function (ask) {
        var fns = []; for (const k in {a: 1, b: 2}) fns.push(() => k);
        for (let i = 0; i < 2; i++) { if (i) continue; fns.push(() => i); } return fns.map(f => f());
    },
    function (ask) {
        a: for (let i = 0; i < 3; i++) { for (let j of [1, 2]) { const q = () => i + j; if (q() > 2) break a;
            if (j === 1) continue a; } } return 'x';
    },
    function (ask) {
        switch (1) { case 1: { let x = 2; return (() => x)(); } }
    },
    function (ask) {
        class A { constructor() { this.v = 1; } get [`v${1}`]() { return this.v; } static *gen() { yield 1;
            } *[Symbol.iterator]() { yield this.v; } } return [new A().v1, [...A.gen()], [...new A()]];
    },
    function (ask) {
        const w = new WeakMap(); class P { constructor(x) { w.set(this, x); } get x() { return w.get(this); } }
        return new P(4).x;
    },
    function (ask) {
        const m = new Map(Object.entries({a: 1})); return JSON.stringify([...m]) + m.size + [...m.keys()][0];
    },
    function (ask) {
        const s1 = new Set([1,2,3]); return [...s1].filter(x => x % 2).map(String).join`+`;
    },
    function (ask) {
        return Array.from(new Map([[1, 2]]).values()).concat(Array.from('ab', c => c + c));
    },
    function (ask) {
        return Object.assign(Object.create({inherited: 1}), {own: 2}, null).own;
    },
    function (ask) {
        return [0.1 + 0.2, 1e21, -0, 5 % 3, 2 ** -1, ~~5.7, 5 >>> 1, NaN].map(String);
    },
    function (ask) {
        return [..."ab"].reverse().join('') + 'abc'.split('').sort((a, b) => a < b ? 1 : -1).join('');
    },
    function (ask) {
        return Array.from({length: 2}).map(() => 0).concat(new Array(2).fill().map((_, i) => i));
    },
    function (ask) {
        return isNaN('x') && Number.isNaN(NaN) && !Number.isNaN('x') && Number.isFinite(1) && Number.isSafeInteger(5);
    },
    function (ask) {
        return ['b', 'a', 'C'].sort((x, y) => x.toLowerCase().localeCompare(y.toLowerCase()));
    },
    function (ask) {
        return 'Grüße'.toUpperCase() + 'İ'.toLowerCase().length + 'ß'.localeCompare('a');
    },
    function (ask) {
        const re = /(\d+)-(\d+)/g; let m, r = []; while ((m = re.exec('1-2 3-4')) !== null) r.push(m[1]); return r;
    },
    function (ask) {
        return 'x-y_z'.replace(/[-_](\w)/g, (_, c) => c.toUpperCase()) + 'a.b'.replace('.', '$&$&') + 'aa'.replace(/a/g,
            '$$');
    },
    function (ask) {
        return new Date(Date.UTC(2020, 1,
            29)).toISOString() +
            new Date('2020-02-29T00:00:00Z').getTime() + new Date('Sat, 29 Feb 2020 00:00:00 +0000').getTime()
            ;
    },
    function (ask) {
        return JSON.stringify({a: undefined, b: () => 1, c: [undefined], d: new Date(0), e: NaN}, null, 1);
    },
    function (ask) {
        return [typeof null, typeof undefined, typeof (() => 1), typeof Symbol(), typeof class {}];
    },
    function (ask) {
        function f(a, b = 2) { return [f.length, f.name, arguments.length, a, b]; } return f(1);
    },
    function (ask) {
        const o = {f: function () {}, g: () => {}, h() {}}; return [o.f.name, o.g.name, o.h.name];
    },
    function (ask) {
        return (() => { try { return 'a'; } finally { ask('b'); } })();
    },
    function (ask) {
        let n = 0;
        const it = {[Symbol.iterator]() { return {next: () => ({done: n > 2, value: n++}), return() { n = 100; return {};
            }}; }}; for (const x of it) { if (x === 1) break; } return n;
    },
    function (ask) {
        const [p, q] = new Map([[1, 2], [3, 4]]); return [p, q];
    },
    function (ask) {
        return [...[1, , 3]].length + [, 1].map(x => x).length;
    },
    function (ask) {
        return Reflect.construct(Date, [0]).getTime() + Reflect.apply(Math.max, null, [1, 2]) + Reflect.ownKeys({a: 1,
            [Symbol.iterator]: 2}).length;
    },
    function (ask) {
        const p = new Proxy({a: 1}, {get: (t, k) => k in t ? t[k] : 'none', has: () => true}); return [p.a, p.b, 'zz' in p];
    },
    function (ask) {
        with_undefined: { if (void 0 === undefined) break with_undefined; } return `${[1, 2]}` + {};
    },
    function (ask) {
        const bound = function (a, b) { return [this.x, a, b]; }.bind({x: 1}, 2); return bound(3);
    },
    function (ask) {
        return ((...args) => args.length)(...[1, 2], ...'ab', ...new Set([1]));
    },
    function (ask) {
        return Math.max(...[1, 5, 3]) + Math.min.apply(null, [4, 2]) + Math.sign(-3) + Math.trunc(-4.7);
    },
    function (ask) {
        const gen = function* () { try { yield 1; } catch (e) { yield 'caught ' + e; } }(); gen.next();
        return gen.throw('x').value;
    },
    function (ask) {
        const inf = function* () { let i = 0; while (true) yield i++; }; const out = [];
        for (const x of inf()) { if (x > 3) break; out.push(ask(x)); } return out;
    },
    function (ask) {
        class Q { static get [Symbol.species]() { return Array; } get [Symbol.toStringTag]() { return 'Q'; } }
        return String(new Q());
    },
    function (ask) {
        const o = {[Symbol.toPrimitive](hint) { return hint === 'number' ? 42 : 'str'; }}; return [+o, `${o}`];
    },
    function (ask) {
        return 010 + 0;
    },
    function (ask) {
        return ask.call(null, 1) + ask.apply(null, [2]) + ask.bind(null, 3)();
    },
    function (ask) {
        return Reflect.apply(ask, null, [4]);
    },
    function (ask) {
        function C() { this.v = ask(5); } return new C().v + new (C.bind(null))().v;
    },
    function (ask) {
        class A { constructor() { this.v = ask(6); } } class B extends A { constructor() { super(); this.w = ask(7);
            } } return new B().v + new B().w;
    },
    function (ask) {
        class E2 extends Error { constructor(m) { super(ask(m)); this.v = ask(1); } } return new E2('x').message;
    },
    function (ask) {
        function C() { this.v = ask(5); } return Reflect.construct(C, []).v;
    },
    function (ask) {
        return [1, 2].map(ask).join() + [[1], [2]].flatMap(x => x.map(ask)).length + [3, 1].sort((a, b) => ask(a) - b) +
            [1].some(ask) + [1].every(ask) + [1, 2].reduceRight((a, b) => ask(a) + b) + [1].find(ask) +
            [1].findIndex(ask) + [1].findLast(ask) + [5].findLastIndex(ask);
    },
    function (ask) {
        return 'abc'.replace(/b/, ask) + 'abc'.replaceAll('b', ask);
    },
    function (ask) {
        return Array.from([1, 2], ask).join() + Array.from(new Set([3]), ask) + Array.from({length: 2}, (_, i) => ask(i));
    },
    function (ask) {
        let s = 0; new Map([[1, 2]]).forEach((v, k) => { s += ask(v) + k; }); new Set([3]).forEach(v => { s += ask(v); });
            return s;
    },
    function (ask) {
        const it = {[Symbol.iterator]: () => ({i: 0, next() { return this.i < 2 ? {value: ask(this.i++),
            done: false} : {done: true, value: undefined}; }})};
            return [...it].concat(Array.from(it)).concat([...new Set(it)]);
    },
    function (ask) {
        const [a, b] = function* () { yield ask(1); yield ask(2); }(); return a + b;
    },
    function (ask) {
        return `${ask(1)}-${[ask(2)]}`;
    },
    function (ask) {
        return [1, 2, 3].indexOf(ask(2)) + Math.max(ask(4), ask(5)) + JSON.stringify({a: ask(1)}) + String(ask(3)) +
            parseInt(ask('7'));
    },
    function (ask) {
        try { try { ask(1); throw new Error('a'); } finally { ask(2); } } catch (e) { return ask(e.message); }
    },
    function (ask) {
        var x = {get a() { return 1; }}; x.b = ask(x.a); return x.b;
    },
    function (ask) {
        var o = {valueOf() { return 5; }}; return o + ask(1);
    },
    function (ask) {
        switch (ask(2)) { case ask(1): return 'one'; case ask(2): return 'two'; }
    },
    function (ask) {
        for (var i = ask(0); i < ask(3); i += ask(1)) { } return i;
    },
    function (ask) {
        const t = (s, ...v) => s[0] + ask(v[0]); return t`a${ask(1)}`;
    },
    function (ask) {
        function f(a = ask(1), {b = ask(2)} = {}) { return a + b; } return f();
    },
    function (ask) {
        return (ask(0) || ask(1)) && (ask(2), ask(3));
    },
    function (ask) {
        var r = []; for (var k in {a: ask(1), b: 2}) r.push(ask(k)); return r;
    },
    function (ask) {
        return [ask(1), ...[ask(2)]].concat({[ask('k')]: ask('v')}.k);
    },
    function (ask) {
        return new Date(ask(0)).getTime() + new Array(ask(3)).length + new RegExp(ask('a')).source;
    },
    function (ask) {
        return Object.keys({a: 1}).map(k => ask(k)).concat(Object.entries({b: 2}).map(([k, v]) => ask(k) +
            v)).concat(Object.values({c: 3}).filter(v => ask(v)));
    },
    function (ask) {
        var u = new Uint8Array([1, 2, 3]); return Array.prototype.map.call(u, x => ask(x) * 2);
    },
    function (ask) {
        return [1,2].toString() + [3, 1, 2].sort().map(x => ask(x));
    },
    function (ask) {
        return Object.fromEntries([['a', ask(1)]]).a + Object.assign({}, {b: ask(2)}).b;
    },
    function (ask) {
        var g = function* () { const x = yield ask(1); return ask(x); }; var i = g(); i.next(); return i.next(ask(9)).value;
    },
    function (ask) {
        function* inner() { yield ask(1); return ask(2); } function* outer() { const r = yield* inner(); yield ask(r);
            } return [...outer()];
    },
    function (ask) {
        return new Function('ask', 'return ask(1)')(ask);
    },
    function (ask) {
        return ((f) => f(f))((f) => ask(1));
    },
    function (ask) {
        const p = new Proxy(function () {}, {apply() { return ask(1); }}); return p();
    }
];
