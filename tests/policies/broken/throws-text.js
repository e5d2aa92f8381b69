// expect: throws-text.js:3:5: thrown: a text
function f() {
    throw "a text";
}
f();
