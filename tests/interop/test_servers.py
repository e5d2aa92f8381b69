"""Postfix, Exim and OpenSMTPD as senders, through `proxy.js`, to each of them and to smtp-sink as next hop.

Every message arrives once, and not an octet of it is changed but for the trace fields at its top.
"""
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from messages.varied import number_of, varied
from peers import exim, opensmtpd, postfix
from peers.exim import Exim
from peers.opensmtpd import OpenSmtpd
from peers.postfix import Postfix, without_trace
from peers.sender import Sender
from peers.smtp_sink import SmtpSink
from scale import SCALE

NUMBER = 20 * SCALE
TEST_SECONDS = 120 + 10 * SCALE
SERVERS = {"postfix": (postfix, Postfix), "exim": (exim, Exim), "opensmtpd": (opensmtpd, OpenSmtpd)}
# What they log when a message is not delivered at the first try.
GIVEN_UP = ["status=deferred", "status=bounced", " == ", " ** ", "TempFail", "PermFail"]
NEXT_HOPS = [*SERVERS, "smtp-sink"]

pytestmark = pytest.mark.skipif(postfix.missing() is not None, reason=str(postfix.missing()))


def server(name, **options):
    """A server of this name, not started; skips where it cannot be."""
    module, kind = SERVERS[name]
    if problem := module.missing():
        pytest.skip(problem)
    return kind(**options)


class Destination:
    """A next hop of any kind, and what arrived there."""

    def __init__(self, name):
        self.peer = SmtpSink(dump=True) if name == "smtp-sink" else server(name)

    def __enter__(self):
        self.peer.__enter__()
        return self

    def __exit__(self, *error):
        self.peer.__exit__(*error)

    def arrived(self, kind):
        """The contents of all messages of this kind, trace fields and body, as soon as nothing is under way."""
        if isinstance(self.peer, SmtpSink):
            contents = [message.content for message in self.peer.messages()]
        else:
            self.peer.wait_until_empty()
            contents = self.peer.delivered()
        return [pair for pair in map(without_trace, contents) if b"X-Kind: " + kind + b"\r\n" in pair[1]]


@pytest.fixture(scope="module", params=NEXT_HOPS)
def next_hop(request):
    with Destination(request.param) as destination:
        yield destination


@pytest.fixture(scope="module")
def proxy(next_hop, serve_module):
    return serve_module("proxy", settings={"nextHop": f"127.0.0.1:{next_hop.peer.port}"},
                        options=["--hostname", "proxy.test"])


def hand_over(port, messages, sessions=4):
    """Give messages to a server over a few connections."""
    senders = [Sender(port, patience=30) for _ in range(sessions)]
    try:
        for sender in senders:
            sender.hello()
        for number, content in messages.items():
            senders[number % sessions].deliver(content)
    finally:
        for sender in senders:
            sender.close()


def assert_the_same(arrived, messages):
    """Each message once, and the same but for its trace fields."""
    assert sorted(number_of(content) for _, content in arrived) == list(messages), "lost or doubled"
    for _, content in arrived:
        assert content == messages[number_of(content)]


@pytest.fixture(scope="module")
def senders(proxy):
    """{name: server that sends everything through the proxy}, for those that can be had."""
    kinds = {name: kind for name, (module, kind) in SERVERS.items() if module.missing() is None}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        made = {name: kind(relay=proxy.port) for name, kind in kinds.items()}
        list(pool.map(stack.enter_context, made.values()))
        yield made


@pytest.mark.parametrize("name", SERVERS)
def test_every_message_arrives_once_and_unchanged(name, next_hop, senders):
    if name not in senders:
        pytest.skip(SERVERS[name][0].missing())
    kind = name.encode()
    messages = {number: varied(number, nul=False, kind=kind) for number in range(NUMBER)}
    hand_over(senders[name].port, messages)
    senders[name].wait_until_empty()
    arrived = next_hop.arrived(kind)
    assert_the_same(arrived, messages)
    log = senders[name].log()
    assert not any(word in log for word in GIVEN_UP), log
    if name == "exim":
        taken = [line for line in log.splitlines() if " => " in line]
        assert taken and all(" K " in line for line in taken), "it did not use BDAT"
    for fields, _ in arrived:
        by = [field.split(b"\tby ")[1].split(b" ")[0] for field in fields if field.lower().startswith(b"received:")]
        # smtp-sink's own field is taken off already.
        own = [] if isinstance(next_hop.peer, SmtpSink) else [b"destination.test"]
        assert by == [*own, b"proxy.test", b"sender.test"]
