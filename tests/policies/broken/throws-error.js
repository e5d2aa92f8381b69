// expect: throws-error.js:2:1: Error: not today
throw new Error("not today");
