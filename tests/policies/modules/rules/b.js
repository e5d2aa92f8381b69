var a = require('./a');
exports.seen = a.early + ' ' + typeof a.tell;
exports.tell = function () { return typeof a.tell; };
