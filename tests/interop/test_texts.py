"""Texts out of messages, as a policy works on them: every piece of every text may be looked at, and nothing breaks."""
import json

from peers.sender import Sender

POLICY = """
/* Looks at every piece of a text, and gives it back cut at one place and put together again. */
function walked(text) {
    var from, to, at, seen = 0;
    for (from = 0; from <= text.length; from++) {
        for (to = from; to <= text.length; to += 3) {
            seen += text.slice(from, to).length + text.indexOf(text.charAt(from), to);
        }
        at = text.slice(0, from) + text.slice(from);
        if (at !== text) {
            throw new Error('cut at ' + from + ': ' + at);
        }
    }
    return text;
}

SmtpServer.prototype.smtpData = function (headers, body) {
    if (headers === null) {
        return null;
    }
    return new SmtpResponse(250, [walked(headers[0].parts[0]), walked(body.read(0, 200)).trim()]);
};
"""

SUBJECTS = ["a😀b", "äbcdefghijklmnopq😀r", "😀" * 40, "x" * 50 + "😀" + "y" * 5,
            "😀 wins 😀😀 now, über 🎉🎉 abc 🎉d", "日本語🎌です。abc🎌z"]


def test_characters_beyond_the_basic_plane_end_no_session(serve):
    server = serve(POLICY)
    with Sender(server.port) as sender:
        sender.hello()
        for number, subject in enumerate(SUBJECTS):
            reply = sender.deliver(f"Subject: {subject}\r\n\r\n{subject[::-1]} {number}\r\n".encode())
            assert reply.code == 250
            assert [line.decode() for line in reply.lines] == [subject, f"{subject[::-1]} {number}"], json.dumps(reply.text)
    assert "failed" not in server.log
