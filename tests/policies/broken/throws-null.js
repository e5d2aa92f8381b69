// expect: throws-null.js:2:1: thrown: null
throw null;
