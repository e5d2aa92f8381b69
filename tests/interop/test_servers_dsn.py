"""Delivery status notifications (RFC 3461) and internationalised addresses between real servers, in clear and over TLS.

What a sender asks for passes `proxy.js`, and the server behind does it: it writes the notification of success, with the
envelope identifier and the original recipient that were asked for, to the sender, who has a mailbox there.
"""
import re
from pathlib import Path

import pytest
from certificates import Authority
from interop.test_servers import SERVERS, server
from messages.varied import varied
from peers import postfix
from peers.postfix import without_trace
from peers.sender import Sender
from peers.waiting import wait_until

pytestmark = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))

TEST_SECONDS = 120
UTF8_MAIL, UTF8_RCPT = "<sönder@example.test> SMTPUTF8".encode(), "<üser@example.test>".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=[False, True], ids=["in clear", "over TLS"])
def secure(request):
    return request.param


@pytest.fixture(scope="module", params=SERVERS)
def behind(request, secure, authority, tmp_path_factory):
    """(name, the server behind)"""
    if secure and request.param == "opensmtpd":
        pytest.skip("OpenSMTPD of Debian 12 cannot serve TLS")
    pair = None
    if secure:
        folder = tmp_path_factory.mktemp("pair")
        pair = authority.make("localhost", "127.0.0.1")
        names = []
        for name, file in (("certificate", pair.file), ("key", pair.key)):
            (folder / name).write_text(Path(file).read_text())
            names.append(str(folder / name))
        pair = tuple(names)
    with server(request.param, certificate=pair) as destination:
        yield request.param, destination


@pytest.fixture(scope="module")
def proxy(behind, secure, authority, serve_module):
    settings = {"nextHop": f"127.0.0.1:{behind[1].port}"}
    if secure:
        settings |= {"nextHopTls": "verified", "nextHopCa": authority.file}
    return serve_module("proxy", settings=settings, options=[
        "--hostname", "proxy.test", "--tls-certificate", authority.make("proxy.test").both])


def arrived(destination, mark):
    """The messages with this mark that are no notification, and those that are one."""
    found = [content for content in destination.delivered() if mark in content]
    reports = [content for content in found if b"multipart/report" in content]
    return [content for content in found if content not in reports], reports


def asked_for(name, secure, proxy, message, mail, rcpt):
    with server(name, relay=proxy.port, tls="starttls" if secure else "off") as sender:
        with Sender(sender.port) as client:
            client.hello()
            client.deliver(message, sender=mail, recipients=[rcpt])
        sender.wait_until_empty()


@pytest.mark.parametrize("name", SERVERS)
def test_the_server_behind_reports_what_was_asked_for(name, behind, secure, proxy):
    kind = b"dsn-" + name.encode()
    message = varied(1, nul=False, kind=kind)
    reports = behind[1].log().count("bounce: adding report ")
    asked_for(name, secure, proxy, message, b"<sender@example.test> RET=HDRS ENVID=QQ314159+2B",
              b"<user@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;original+2Buser@example.test")
    destination = behind[1]
    if behind[0] == "opensmtpd":        # it collects reports for a minute
        wait_until(lambda: destination.log().count("bounce: adding report ") > reports, "a report in OpenSMTPD's log", 30)
        assert [without_trace(content)[1] for content in arrived(destination, kind)[0]] == [message]
        return
    wait_until(lambda: all(arrived(destination, kind)), f"the message and its report\n{destination.log()[-3000:]}", 30)
    [content], [report] = arrived(destination, kind)
    assert without_trace(content)[1] == message
    assert re.search(rb"(?im)^Action: *(?:delivered|expanded|relayed)", report), report
    assert re.search(rb"(?im)^Original-Envelope-Id: *QQ314159\+", report), report
    assert re.search(rb"(?im)^Original-Recipient: *rfc822; *original\+(?:2B)?user@example\.test", report), report
    fields = b"".join(without_trace(content)[0])
    assert (b" with ESMTPS " in fields) is secure


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "opensmtpd"])
def test_internationalised_mail(name, behind, secure, proxy):
    if behind[0] == "opensmtpd":
        pytest.skip("OpenSMTPD does not do SMTPUTF8")
    kind = b"utf8-" + name.encode()
    message = varied(2, nul=False, kind=kind).replace(b"To: user@example.test", "To: üser@example.test".encode())
    asked_for(name, secure, proxy, message, UTF8_MAIL, UTF8_RCPT)
    destination = behind[1]
    destination.wait_until_empty()
    [content], _ = arrived(destination, kind)
    fields, content = without_trace(content)
    assert content == message
    by = next(field for field in fields if b"by proxy.test (Mailfilter)" in field)
    assert (b" with UTF8SMTPS " if secure else b" with UTF8SMTP ") in by
    assert "<sönder@example.test>".encode() in fields[0]
