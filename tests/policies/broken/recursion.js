// expect: recursion.js:2
function f() { return f() + 1; }
f();
