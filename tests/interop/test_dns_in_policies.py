"""Dns in a policy, against a DNS server with real packets: answers, outcomes, and that silence hurts nobody else."""
import json
import select
import subprocess

import pytest
from peers.dns import SILENCE, DnsThread
from peers.sender import Sender
from serving import PROGRAM

POLICY = """
SmtpServer.prototype.smtpVrfy = function (text) {
    var answer;
    switch (text.split(' ')[0]) {
    case 'lookup': answer = Dns.lookup(text.split(' ')[1], text.split(' ')[2]); break;
    case 'query': answer = Dns.query(text.split(' ')[1], Dns['t_' + text.split(' ')[2]]); break;
    case 'impatient': answer = Dns.lookup(text.split(' ')[1], 'A', { timeout: 0.2 }); break;
    case 'addresses': answer = Dns.addresses(text.split(' ')[1]); break;
    case 'names': answer = Dns.names(text.split(' ')[1]); break;
    case 'iprev': answer = Dns.iprev(text.split(' ')[1]); break;
    case 'together': answer = Sys.all(['a', 'b', 'c', 'd', 'e'].map(function (name) {
        return function () { return Dns.lookup(name + '.example', 'A').data[0]; };
    })); break;
    case 'dnsbl': answer = new Dnsbl(['lists.example', { zone: 'allow.example', allow: true }]).check(text.split(' ')[1]); break;
    default: answer = 'nothing asked';
    }
    return new SmtpResponse(252, JSON.stringify(answer));
};
"""

ZONE = {
    ("example.org", "MX"): ["example.org 300 IN MX 10 mx.example.org."],
    ("example.org", "A"): ["example.org 60 IN A 192.0.2.1"],
    ("example.org", "AAAA"): ["example.org 60 IN AAAA 2001:db8::1"],
    ("text.example", "TXT"): ['text.example 60 IN TXT "one" "two"'],
    ("broken.example", "A"): "SERVFAIL",
    ("silent.example", "A"): SILENCE,
    ("1.2.0.192.in-addr.arpa", "PTR"): ["1.2.0.192.in-addr.arpa 60 IN PTR example.org.",
                                        "1.2.0.192.in-addr.arpa 60 IN PTR other.example."],
    ("1.2.0.192.lists.example", "A"): ["1.2.0.192.lists.example 60 IN A 127.0.0.2"],
    ("2.2.0.192.lists.example", "A"): ["2.2.0.192.lists.example 60 IN A 127.0.0.2"],
    ("2.2.0.192.allow.example", "A"): ["2.2.0.192.allow.example 60 IN A 127.0.0.2"],
    **{(f"{name}.example", "A"): [f"{name}.example 60 IN A 192.0.2.{number}"] for number, name in enumerate("abcde")},
}


@pytest.fixture(scope="module")
def dns():
    with DnsThread(ZONE) as server:
        yield server


@pytest.fixture(scope="module")
def server(dns, serve_module):
    return serve_module(POLICY, options=["--dns-server", dns.address], timeouts={"dns": "3"})


def ask(server, question):
    with Sender(server.port) as sender:
        sender.hello()
        return told(sender.command(f"VRFY {question}".encode()))


def told(reply):
    assert reply.code == 252, reply
    return json.loads(b"".join(reply.lines).decode())


def test_lookup(server):
    found = ask(server, "lookup example.org MX")
    assert found["status"] == "found" and found["data"] == ["10 mx.example.org"] and found["ttl"] == 300
    assert found["records"] == [{"name": "example.org", "type": 15, "ttl": 300, "data": "10 mx.example.org", "preference": 10,
                                 "exchange": "mx.example.org"}]
    assert ask(server, "lookup text.example TXT")["data"] == ["onetwo"]
    assert ask(server, "lookup broken.example A")["status"] == "servfail"
    assert ask(server, "lookup none.example A")["status"] == "nxdomain"
    assert ask(server, "lookup example.org TXT")["status"] == "nxdomain"


def test_query(server):
    found = ask(server, "query example.org mx")
    assert found["question"] == [{"name": "example.org", "type": 15}]
    assert found["answer"][0]["data"] == "10 mx.example.org"
    assert ask(server, "query none.example a") == 1
    assert ask(server, "query broken.example a") == 2


def test_names_and_addresses(server):
    assert ask(server, "addresses example.org") == ["192.0.2.1", "2001:db8::1"]
    assert sorted(ask(server, "names 192.0.2.1")) == ["example.org", "other.example"]
    found = ask(server, "iprev 192.0.2.1")
    assert (found["result"], found["name"]) == ("pass", "example.org")
    assert ask(server, "iprev 192.0.2.2")["result"] == "fail"
    assert ask(server, "iprev nonsense")["result"] == "permerror"


def test_several_at_once(server):
    assert ask(server, "together") == [f"192.0.2.{number}" for number in range(5)]


def test_blocklists(server):
    found = ask(server, "dnsbl 192.0.2.1")
    assert found["listed"] and found["score"] == 1
    assert found["hits"] == [{"subject": "192.0.2.1", "zone": "lists.example", "weight": 1, "allow": False,
                              "codes": ["127.0.0.2"]}]
    found = ask(server, "dnsbl 192.0.2.2")
    assert not found["listed"] and found["allowed"]
    assert not ask(server, "dnsbl 192.0.2.3")["listed"]


def test_a_server_that_is_silent_about_one_name_delays_no_other_session(server):
    with Sender(server.port) as waiting:
        waiting.hello()
        waiting.send(b"VRFY lookup silent.example A\r\n")
        for _ in range(20):
            assert ask(server, "lookup example.org A")["status"] == "found"
        assert ask(server, "impatient silent.example")["status"] == "timeout"
        assert select.select([waiting.socket], [], [], 0)[0] == [], "the silent one was not waited for"
        assert told(waiting.reply())["status"] == "timeout"


def test_a_dns_server_that_is_no_address_is_refused_at_the_start(tmp_path):
    done = subprocess.run([PROGRAM, "serve", "mx", "--dns-server", "dns.example"], capture_output=True, text=True, timeout=30,
                          cwd=tmp_path)
    assert done.returncode == 2
    assert "'dns.example' is not the address of a server" in done.stderr
