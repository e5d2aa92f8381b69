// expect: the heap's limit of
var s = "x";
for (;;)
    s += s;
