"""mx with real scanners: viruses refused, what spamd and Rspamd say done, milters obeyed, and all of them in one score."""
import re

import dkim
import pytest
from scanning import EICAR, GTUBE, Bad, Clamd, OpenDkim, RspamdServer, Spamd, dkim_keys
from shipped.conftest import FORGER, HAM
from shipped.test_mark_and_filter import INFECTED, SPAM, attached

TEST_SECONDS = 120

ORG = (b"<me@example.org>",)
FORCED = """
rspamd_config:register_symbol{name = 'FORCED', score = 0.1, group = 'own', callback = function(task)
  local said = string.match(tostring(task:get_content()), 'please (%l+ ?%l*) this')
  if said then task:set_pre_result{action = said, message = 'because of ' .. said} end
  return said ~= nil end}
"""


class Forcing(RspamdServer):
    """An Rspamd that does what a message asks for: "please soft reject this"."""

    def prepare(self):
        super().prepare()
        with open(f"{self.folder}/rules.lua", "a", encoding="ascii") as rules:
            rules.write(FORCED)


def server_of(kind):
    @pytest.fixture(scope="module")
    def fixture():
        server = kind()
        yield server
        server.finish()
    return fixture


clamd, spamd, rspamd = server_of(Clamd), server_of(Spamd), server_of(Forcing)


@pytest.fixture(scope="module")
def mx(front, clamd, spamd, rspamd, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "store.db"
    return front("mx", domains="example.org", store=store, clamav=f"unix:{clamd.socket}", spamassassin=f"127.0.0.1:{spamd.port}",
                 rspamd=f"127.0.0.1:{rspamd.port}", spamassassinWeight="1", rspamdWeight="2", greylistDelay="0",
                 greylistSpf="false", rejectAt="500", markAt="12")


def please(action):
    return HAM + b"please " + action + b" this\r\n"


def last(mx, content, **how):
    replies, taken = mx.send(content, recipients=ORG, **how)
    return replies[-1], taken


def header(taken, name):
    found = re.findall(rb"^" + name + rb": (.*)\r$", taken.content.partition(b"\r\n\r\n")[0], re.MULTILINE)
    return found[0].decode() if found else None


def test_ham_passes(mx):
    reply, taken = last(mx, HAM)
    assert reply.code == 250 and header(taken, b"X-Score") == "0.2 (rspamd=0.2)" and header(taken, b"X-Facts") == "seen"
    assert header(taken, b"X-Spam-Flag") is None and taken.content.startswith(b"Received: ")


@pytest.mark.parametrize("kind", INFECTED)
def test_viruses_are_refused(mx, kind):
    reply, taken = last(mx, INFECTED[kind])
    assert taken is None and (reply.code, reply.text) == (550, "5.7.1 The message has a virus: Eicar-Test-Signature.UNOFFICIAL")


def test_scores_of_scanners_are_added_up(mx):
    reply, taken = last(mx, HAM + b"cheap watches\r\n")
    said = header(taken, b"X-Score")
    assert said.startswith("17.7 (") and set(re.findall(r"[a-z-]+=[a-z0-9.]+", said)) == {
        "spamassassin=2.5", "rspamd=15.2", "rspamd-add-header=mark"}
    assert header(taken, b"X-Spam-Flag") == "YES"


def test_gtube_is_too_much(mx):
    reply, taken = last(mx, SPAM)
    assert taken is None and reply.code == 550


@pytest.mark.parametrize("action, code, text", [
    (b"reject", 550, "5.7.1 because of reject"), (b"soft reject", 450, "4.7.1 because of soft reject")])
def test_what_rspamd_refuses_is_refused_in_its_words(mx, action, code, text):
    reply, taken = last(mx, please(action))
    assert taken is None and (reply.code, reply.text) == (code, text)


def test_what_rspamd_wants_marked_is_marked(mx):
    reply, taken = last(mx, please(b"add header"))
    assert reply.code == 250 and header(taken, b"X-Spam-Flag") == "YES" and header(taken, b"Subject") == "hello"


def test_what_rspamd_wants_rewritten_is_rewritten(mx):
    reply, taken = last(mx, please(b"rewrite subject"))
    assert reply.code == 250 and header(taken, b"X-Spam-Flag") == "YES" and header(taken, b"Subject") == "*** SPAM *** hello"


def test_what_rspamd_wants_greylisted_comes_again(mx):
    first, again = (last(mx, please(b"greylist"))[0] for _ in range(2))
    assert (first.code, first.text) == (451, "4.7.1 Greylisted, come again in 0 seconds") and again.code == 250


def test_nothing_reaches_the_next_hop_before_it_is_decided(mx):
    last(mx, INFECTED["zip"])
    assert b"DATA" not in mx.hop.conversations[-1].received


def test_scanners_that_are_away(front, clamd):
    away = front("mx", domains="example.org", clamav="127.0.0.1:9", rspamd="127.0.0.1:9", rspamdAway="accept")
    reply, taken = last(away, HAM)
    assert taken is None and reply.code == 451 and reply.text.startswith("4.3.0 Cannot process this now")
    lax = front("mx", domains="example.org", clamav="127.0.0.1:9", clamavAway="accept", spamassassin="127.0.0.1:9",
                authenticate="false", spamassassinAway="accept", rspamd="127.0.0.1:9",
                rspamdAway="accept", milters="127.0.0.1:9", milterAway="accept")
    assert last(lax, attached(EICAR) + GTUBE)[0].code == 250


def packet(octets):
    return len(octets).to_bytes(4, "big") + octets


def milter(actions):
    """A milter that answers each message's end with the packets in this list, and everything else with "continue"."""
    def behave(_, connection):
        stream = connection.makefile("rb")
        while head := stream.read(4):
            command = stream.read(int.from_bytes(head, "big"))
            if command[:1] == b"O":                 # version 6, what we may do, what we leave out: nothing
                connection.sendall(packet(b"O" + (6).to_bytes(4, "big") + (0x1FF).to_bytes(4, "big") + bytes(4)))
            elif command[:1] == b"E":
                connection.sendall(b"".join(map(packet, actions)))
            elif command[:1] == b"Q":
                return
            elif command[:1] not in b"DA":
                connection.sendall(packet(b"c"))
    return Bad(behave)


@pytest.fixture(scope="module")
def filtered(front):
    """A Front with two milters, the first of which does what is in its list `actions`."""
    actions = []
    with milter(actions) as one, milter([b"c"]) as other:
        made = front("mx", domains="example.org", milters=f"127.0.0.1:{one.port} 127.0.0.1:{other.port}")
        made.actions = actions
        yield made


@pytest.mark.parametrize("actions, code, text, expected", [
    ([b"hX-Mine\0yes\0", b"bNew text\r\n", b"c"], 250, "2.0.0 taken", (b"X-Mine: yes\r\n", b"\r\n\r\nNew text\r\n")),
    ([b"y554 5.7.1 Not so\0"], 554, "5.7.1 Not so", None), ([b"t"], 451, "4.7.1 Service unavailable", None),
    ([b"qlook at it\0", b"a"], 250, "2.0.0 taken", (b"X-Quarantine: milter\r\n",)),
    ([b"d"], 250, "2.0.0 taken", (b"X-Quarantine: milter\r\n",)),
    ([b"+<x@example.org>\0", b"a"], 250, "2.0.0 taken", (b"Good day",))],
    ids=["changes", "reply", "tempfail", "quarantine", "discard", "recipient"])
def test_milters_are_obeyed(filtered, actions, code, text, expected):
    filtered.actions[:] = actions
    reply, taken = last(filtered, HAM)
    assert reply.code == code and reply.text.startswith(text), filtered.server.log
    assert (taken is not None) == (code == 250) and all(octets in taken.content for octets in expected or ())
    if actions[0][:1] == b"+":
        filtered.server.wait_for_log("wants another envelope, which is not done")


def test_opendkim_is_one(front):
    """The real one knows the key, which the DNS of this test does not: what it says stands beside what we say."""
    key, public = dkim_keys()
    server = OpenDkim("v", key, public)
    try:
        mx = front("mx", domains="example.org", milters=f"127.0.0.1:{server.port}", authservId="front.test")
        text = HAM.replace(b"a@sender.example", b"a@example.net")
        key = key.encode() if isinstance(key, str) else key
        _, taken = last(mx, dkim.sign(text, b"s1", b"example.net", key) + text, address=FORGER)
        results = re.findall(rb"Authentication-Results: (.*\r\n(?:[ \t].*\r\n)*)", taken.content)
        assert len(results) == 2
        said = {one.partition(b";")[0].strip(): re.search(rb"dkim=(\w+)", one).group(1) for one in results}
        assert said == {b"mx.test": b"pass", b"front.test": b"permerror"}
    finally:
        server.finish()
