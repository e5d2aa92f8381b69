/*
 * Maildir: delivery into a local mailbox that other programs read (IMAP servers, mail readers).
 */
(function (host, global) {
    'use strict';

    /**
     * @param {string} path  the folder of the mailbox; made when it is not there
     */
    function Maildir(path) {
        this.path = String(path);
    }

    /**
     * Delivers a message. When this returns, the message is safely on disk (fsync of file and folder).
     * @param {?Array<SmtpHeader|string>} headers
     * @param {?(SmtpBody|string)} body
     * @param {string} [folder]  a subfolder (Maildir++), made when it is not there
     * @returns {string} the name of the new file
     * @throws {Error} when it cannot be written: no space, no permission, a folder name that is none
     */
    Maildir.prototype.deliver = function (headers, body, folder) {
        host.needMessage('deliver', headers, body);
        return host.wait(['maildir.deliver', this.path, host.outgoingHeaders(headers), host.bodyReference(body),
            folder === undefined || folder === null ? null : String(folder)]);
    };

    global.Maildir = Maildir;
}(this.host, this));
