// expect: unknown-name.js:4:9: ReferenceError
// excerpt: var a = nothing.there;
"use strict";
var a = nothing.there;
