/*
 * Changing the headers of a message, as the policies here do it. A module without settings; must not know why.
 */

/**
 * Puts a word before the subject. Every subject gets it, as nobody knows which one is shown; a message without any gets one.
 * @param {SmtpHeader[]} headers
 * @param {string} word
 */
exports.mark = function (headers, word) {
    var subjects = headers.filter(function (header) { return header.name.toLowerCase() === 'subject'; });
    subjects.forEach(function (header) { header.parts[0] = word + ' ' + header.parts[0]; });
    if (!subjects.length) {
        headers.push(new SmtpHeader('Subject', word));
    }
};

/**
 * Removes the fields that have one of the names, from the place `from` (0) on.
 * @param {SmtpHeader[]} headers
 * @param {string[]} names
 * @param {number} [from]
 */
exports.remove = function (headers, names, from) {
    var small = names.map(function (name) { return name.toLowerCase(); }), i;
    for (i = headers.length - 1; i >= (from || 0); i--) {
        if (headers[i].name !== '' && small.indexOf(headers[i].name.toLowerCase()) >= 0) {
            headers.splice(i, 1);
        }
    }
};
