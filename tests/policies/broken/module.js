// expect: no module 'mod_perl.so'
Sys.loadModule("mod_perl.so");
