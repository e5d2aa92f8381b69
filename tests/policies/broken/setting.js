// expect: setting.js:3
// expect: setting 'needed' is needed: give it with --set needed=VALUE
Sys.setting("needed");
