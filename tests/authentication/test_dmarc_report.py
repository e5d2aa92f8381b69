"""What DMARC said is kept in a file that is bounded and hurts nobody, and comes out as reports that others can read.

Reports are checked against the schema of RFC 7489 (dmarc-report.xsd, written from its facts) and read by a program that nobody
here wrote (PyPI's dmarc-report).
"""
import gzip
import sqlite3
import subprocess
import threading
import time
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest
from authentication.test_authenticate import RCPT, TEXT, Mx, signed, zone
from authentication.test_spoofing import OURS, THEIRS, VICTIM
from handlers import RecordingLog
from peers.dns import DnsThread
from serving import PROGRAM

from mailfilter.errors import ServiceUnavailable
from mailfilter.services import dmarc_report, dmarc_store

NOW = 1_795_000_000
HOUR = NOW // 3600 * 3600
REPORTER = dmarc_report.Reporter("Example, <Ltd> & Söhne", "dmarc@example.net", "https://example.net/dmarc")


def finding(**changes):
    published = {"domain": "example.org", "p": "reject", "sp": None, "np": None, "adkim": "r", "aspf": "s", "pct": 100,
                 "fo": "1:d", "rua": ["mailto:a@example.org"], "psd": "u", "t": False}
    return {"address": "192.0.2.1", "from": "mail.example.org", "sender": "bounce.example.org", "disposition": "reject",
            "reasons": [], "published": published, "spf": ["pass", "mailfrom", "bounce.example.org", False],
            "dkim": [["fail", "example.org", "s1", False]], **changes}


def written(path, *findings, log=None, now=NOW):
    store = dmarc_store.Store(str(path), log or RecordingLog(), now=lambda: now)
    for one in findings:
        store.add(one)
    store.finish()
    assert store.join(20)
    return store


def rows(path, begin=HOUR, end=HOUR + 3600, domains=()):
    return list(dmarc_store.read(path, begin, end, domains))


def test_equal_findings_are_counted(tmp_path):
    file = tmp_path / "dmarc.db"
    written(file, finding(), finding(), finding(address="::ffff:192.0.2.1"), finding(address="2001:db8::1"))
    written(file, finding())
    found = rows(file)
    assert [(row[2], row[-1]) for row in found] == [("192.0.2.1", 4), ("2001:db8::1", 1)]
    assert rows(file, HOUR + 3600, HOUR + 7200) == [] and rows(file, domains=["other.example"]) == []
    assert len(rows(file, domains=["example.org"])) == 2


def test_several_workers_write_one_file(tmp_path):
    file = tmp_path / "dmarc.db"
    stores = [dmarc_store.Store(str(file), RecordingLog(), now=lambda: NOW) for _ in range(4)]

    def work(store, number):
        for i in range(200):
            store.add(finding(address=f"192.0.2.{i % 5}"))
        store.finish()
        store.join(30)

    threads = [threading.Thread(target=work, args=(store, number)) for number, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(row[-1] for row in rows(file)) == 800 and len(rows(file)) == 5


@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(), lambda path: path.write_bytes(b"no database at all" * 100),
    lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 9").close(),
])
def test_a_file_that_cannot_be_written_is_told_of_and_hurts_nobody(tmp_path, make):
    file, log = tmp_path / "dmarc.db", RecordingLog()
    make(file)
    written(file, finding(), finding(), log=log)
    [(_severity, _session, text, fields)] = log.lines
    assert text == "findings of DMARC are dropped" and fields["so_far"] == 2
    with pytest.raises(ServiceUnavailable):
        rows(file)


def test_what_waits_is_bounded_and_adding_never_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(dmarc_store, "BUSY_S", 0.2)
    file, log = tmp_path / "dmarc.db", RecordingLog()
    written(file, finding())
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        store = dmarc_store.Store(str(file), log, now=lambda: NOW)
        begun = time.monotonic()
        for _ in range(dmarc_store.QUEUE * 3):
            store.add(finding())
        assert time.monotonic() - begun < 5
        assert "findings of DMARC are dropped" in log.texts
        other.execute("ROLLBACK")
    store.finish()
    assert store.join(20)


def test_strangers_cannot_fill_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(dmarc_store, "DOMAIN_ROWS", 10)
    file, log = tmp_path / "dmarc.db", RecordingLog()
    written(file, *(finding(address=f"192.0.2.{i}") for i in range(30)), finding(), log=log)
    assert len(rows(file)) == 10
    written(file, finding(address=rows(file)[0][2]), finding(address="198.51.100.1"), log=log)
    assert len(rows(file)) == 10 and sum(row[-1] for row in rows(file)) >= 11
    assert any("more than 10 different ones" in fields["why"] for _, _, _, fields in log.lines)


def test_a_full_file_forgets_its_oldest_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(dmarc_store, "FILE_BYTES", 64 << 10)
    monkeypatch.setattr(dmarc_store, "BATCH", 20)
    file = tmp_path / "dmarc.db"
    for hour in range(12):
        written(file, *(finding(address=f"192.0.2.{i}") for i in range(20)), now=NOW + hour * 3600)
    assert file.stat().st_size <= 64 << 10
    assert rows(file, HOUR, HOUR + 3600) == [] and len(rows(file, HOUR + 11 * 3600, HOUR + 12 * 3600)) == 20


def test_old_findings_are_forgotten(tmp_path):
    file = tmp_path / "dmarc.db"
    written(file, finding(), now=NOW)
    written(file, finding(), now=NOW + 61 * 86400)
    assert len(rows(file, 0, NOW * 2)) == 1


@pytest.mark.parametrize("wrong", [{"address": "x"}, {"dkim": 5}, {"published": None}, {"spf": []}])
def test_a_finding_that_is_none_is_dropped_alone(tmp_path, wrong):
    file = tmp_path / "dmarc.db"
    written(file, finding(**wrong), finding())
    assert [row[-1] for row in rows(file)] == [1]


HOSTILE = finding(**{
    "address": "2001:db8::dead:beef", "from": "<evil>&\x00\x0b\ud800.example", "sender": "]]>\ufffe" + "x" * 5000,
    "reasons": [["local_policy", "\x1b[31m arc=pass"], ["sampled_out", ""]],
    "spf": ["PASS", "elsewhere", None, 1], "dkim": [["pass", "d" * 5000, None, True], ["odd", "b.example", "s&", False]] * 30})


def check(octets):
    """Against the schema of the RFC, ours and that of PyPI's `dmarc`."""
    xmlschema = pytest.importorskip("xmlschema")
    text = octets.decode()
    xmlschema.XMLSchema(str(Path(__file__).with_name("dmarc-report.xsd"))).validate(text)
    theirs = Path(xmlschema.__file__).parent.parent / "dmarc/report/schemas/dmarc.xsd"
    if theirs.exists():
        xmlschema.XMLSchema(str(theirs)).validate(text)
    return tree.fromstring(text)


def test_reports_follow_the_schema_whatever_strangers_write(tmp_path):
    file = tmp_path / "dmarc.db"
    changed = {**finding()["published"], "p": "none", "sp": "odd", "pct": 7}
    written(file, finding(), finding(), HOSTILE, finding(published=changed), finding(spf=None, dkim=[], sender=""))
    found = list(dmarc_report.reports(file, HOUR, HOUR + 3600))
    assert [(report.domain, report.messages) for report in found] == [("example.org", 1), ("example.org", 4)]
    assert len({report.identifier(REPORTER) for report in found}) == 2
    for report in found:
        feedback = check(report.xml(REPORTER))
        assert feedback.findtext("report_metadata/org_name") == REPORTER.name
        assert sum(int(one.text) for one in feedback.iter("count")) == report.messages
        assert gzip.decompress(report.octets(REPORTER, True)) == report.octets(REPORTER, False)
        name = report.file_name(REPORTER, True).split("!")
        assert name[:4] == ["example.net", "example.org", str(HOUR), str(HOUR + 3599)] and name[4].endswith(".xml.gz")
    assert "2001:db8:0:0:0:0:dead:beef" in report.xml(REPORTER).decode()


def test_an_independent_program_reads_the_same(tmp_path):
    parser = pytest.importorskip("dmarc_report.parser")
    file = tmp_path / "dmarc.db"
    written(file, finding(), finding(reasons=[["local_policy", "arc=pass"]], disposition="none"))
    [report] = dmarc_report.reports(file, HOUR, HOUR + 3600)
    read = parser.DMARCParser.parse_bytes(report.octets(REPORTER, True))
    assert read.policy_published.domain == "example.org" and len(read.records) == 2
    assert {str(record.source_ip) for record in read.records} == {"192.0.2.1"}


# From the session to the report.

def report(*words, status=0):
    done = subprocess.run([PROGRAM, "dmarc-report", *map(str, words)], capture_output=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def test_what_workers_recorded_is_reported(serve, tmp_path):
    file = tmp_path / "dmarc.db"
    with DnsThread(zone()) as dns:
        mx = Mx(serve, dns, tmp_path / "Maildir", dmarcDatabase=file)
        codes = [mx.send()[0].code, mx.send(signed(TEXT, VICTIM), address=OURS, sender=b"<boss@victim.example>")[0].code,
                 mx.send(TEXT.replace(b"victim", b"quarantine"))[0].code, mx.send(TEXT.replace(b"victim", b"nobody"))[0].code]
        assert codes == [550, 250, 250, 250]
        with mx.client(THEIRS) as client:
            client.transaction(TEXT.replace(b"victim", b"broken"), recipients=RCPT)
        assert mx.server.stop() == 0
    when = ("--begin", time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400)), "--end",
            time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400)))
    assert report(file, *when, "--list").decode().splitlines() == [
        "quarantine.example\tp=quarantine\t1\tmailto:dmarc@quarantine.example",
        "victim.example\tp=reject\t2\tmailto:dmarc@victim.example"]
    assert b"there are 2 reports" in report(file, *when, status=1)
    octets = report(file, *when, "--domain", "Victim.example.", "--org-name", "We", "--email", "dmarc@our.example")
    records = {record.findtext("row/source_ip"): record for record in check(octets).iter("record")}
    assert set(records) == {OURS, THEIRS}
    told = {name: records[THEIRS].findtext(f"row/policy_evaluated/{name}") for name in ("disposition", "dkim", "spf")}
    assert told == {"disposition": "reject", "dkim": "fail", "spf": "fail"}
    assert records[OURS].findtext("row/policy_evaluated/disposition") == "none"
    assert records[OURS].findtext("auth_results/dkim/selector") == "k"
    assert records[OURS].findtext("auth_results/spf/scope") == "mfrom"
    folder = tmp_path / "reports"
    names = report(file, *when, "--output", folder, "--gzip", "--email", "dmarc@our.example").decode().split()
    assert len(names) == 2 and all(check(gzip.decompress(Path(name).read_bytes())) is not None for name in names)
    assert report(file, "--begin", "2001-01-01", "--list") == b""


@pytest.mark.parametrize("words, status", [
    (["--begin", "yesterday"], 2), (["--begin", "2026-11-22", "--end", "2026-11-22"], 2), (["--email", "nobody"], 2), ([], 1)])
def test_what_cannot_be_reported_is_told(tmp_path, words, status):
    assert report(tmp_path / "none.db", *words, status=status).startswith(b"mailfilter: ")
    assert not (tmp_path / "none.db").exists()
