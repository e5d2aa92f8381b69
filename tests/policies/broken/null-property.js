// expect: null-property.js:4
// excerpt: return nothing.there;
function f(nothing) {
    return nothing.there;
}
f(null);
