// expect: syntax.js:4:5: SyntaxError
// excerpt: var = 3;
var fine = 1;
var = 3;
