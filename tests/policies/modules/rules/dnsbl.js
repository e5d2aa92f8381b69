exports.name = 'dnsbl in ' + module.id;
exports.fail = function () {
    /* The third line throws. */
    throw new Error('in a module');
};
