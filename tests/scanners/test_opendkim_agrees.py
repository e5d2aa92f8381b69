"""OpenDKIM and Dkim agree: each verifies what the other signs, and neither what was changed since."""
import json
from urllib.parse import unquote

import pytest
from authentication.senders import txt
from peers.dns import DnsThread
from peers.sender import Sender
from scanners.test_milter import MESSAGE, keys, message_of, results, signer, verifier  # noqa: F401

KINDS = [f"{head}/{body}" for head in ("simple", "relaxed") for body in ("simple", "relaxed")]

POLICY = """
/* In lines that no reply breaks. */
function told(value) { return new SmtpResponse(250, encodeURIComponent(JSON.stringify(value)).match(/.{1,400}/g)); }
SmtpServer.prototype.smtpData = function (headers, body) {
    var way = this.clientname, found;
    if (headers === null) { return null; }
    if (way === 'verify') {
        found = Dkim.verify(headers, body);
        return told(found.map(function (one) { return [one.result, one.domain, one.algorithm]; }));
    }
    return told(String(Dkim.sign(headers, body, {
        domain: 'example.net', selector: 's1', key: Sys.setting('key'), canonicalization: way
    })));
};
"""


@pytest.fixture(scope="module")
def server(serve_module, keys, tmp_path_factory):  # noqa: F811
    private = tmp_path_factory.mktemp("key") / "s1.pem"
    private.write_text(keys[0])
    name = "s1._domainkey.example.net"
    with DnsThread({(name, "TXT"): txt(name, f"v=DKIM1; k=rsa; p={keys[1]}")}) as dns:
        yield serve_module(POLICY, settings={"key": private}, options=["--dns-server", dns.address])


def asked(server, way, message):
    with Sender(server.port) as sender:
        sender.hello(name=way.encode())
        return json.loads(unquote(b"".join(sender.deliver(message.replace(b"\n", b"\r\n")).lines).decode()))


@pytest.mark.parametrize("kind", KINDS)
def test_it_verifies_what_we_sign(server, verifier, kind):  # noqa: F811
    signature = asked(server, kind, MESSAGE).replace("\r\n", "\n").encode()
    assert f"c={kind}".encode() in signature
    assert "dkim=pass" in results(verifier(signature + b"\n" + MESSAGE, how="apply"))[0]
    changed = MESSAGE.replace(b"Good day", b"Bad day")
    assert "dkim=fail" in results(verifier(signature + b"\n" + changed, how="apply"))[0]


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
def test_we_verify_what_it_signs(server, signer, size):  # noqa: F811
    body = b"Good day\n.dot\n" * size
    headers = signer(MESSAGE.replace(b"Good day\n.dot\n", body), how="apply")
    assert asked(server, "verify", message_of(headers, body)) == [["pass", "example.net", "rsa-sha256"]]
    assert asked(server, "verify", message_of(headers, body + b"more\n"))[0][0] == "fail"
