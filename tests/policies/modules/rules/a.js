exports.early = 'early a';
var b = require('./b');
exports.tell = function () { return 'a knows ' + b.seen + ', b knows ' + b.tell(); };
