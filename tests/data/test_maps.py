"""Maps: networks, keys, domains and regular expressions out of files, against what a plain search says; files that change."""
import asyncio
import ipaddress
import os
import random

import pytest

from mailfilter.services import map_files, maps

TEXTS = {
    "a.cidr": "# ours\n10.0.0.0/8 ten\n10.1.0.0/16 one\n10.1.2.3\n192.0.2.0/24\n0.0.0.0/0 all\n2001:db8::/32 six\n"
              "2001:db8:1::/48 inner\n255.255.255.255 last\n",
    "b.hash": "user@Example.org  vip guest\nother\nother twice\n",
    "c.domains": "example.org yes\n.example.net below\nsub.example.org inner\n",
    "d.regexp": "/^dyn[0-9]+\\./ dynamic\n/POOL/i pool\n/(a+)+$/ trap\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def ask(name, *keys):
    quoted = ", ".join(f"map.get({key!r})" for key in keys)
    return f"var map = Maps.load('{name}'); SmtpServer.prototype.smtpVrfy = function () {{ " \
           f"return new SmtpResponse(250, 'x' + JSON.stringify([{quoted}])); }};"


@pytest.mark.parametrize("name, keys, expected", [
    ("a.cidr", ["10.1.2.3", "10.1.2.4", "10.2.0.0", "192.0.2.255", "9.255.255.255", "::ffff:10.1.2.4", "2001:db8:1::5",
                "2001:db8:2::", "2001:db9::", "255.255.255.255", "nonsense", ""],
     ["", "one", "ten", "", "all", "one", "inner", "six", None, "last", None, None]),
    ("b.hash", ["USER@example.org", "other", "nobody", "user@example.or"], ["vip guest", "", None, None]),
    ("c.domains", ["example.org", "A.b.Example.ORG.", "x@sub.example.org", "x.sub.example.org", "example.net", "a.example.net",
                   "org", "notexample.org", ""], ["yes", "yes", "inner", "inner", None, "below", None, None, None]),
    ("d.regexp", ["dyn12.example", "xdyn12.", "a-pool-b", "b" * 50, "a" * 5000 + "b", "aaa"],
     ["dynamic", None, "pool", None, None, "trap"])])
def test_what_is_found(work, folder, name, keys, expected):
    async def test(worker):
        outcome = await worker.session(ask(name, *keys))()
        assert outcome.fault is None, outcome.fault
        import json
        assert json.loads(outcome.lines[0][1:]) == expected
    if name == "d.regexp":
        pytest.importorskip("re2")
    work(test)


def test_against_a_plain_search(tmp_path):
    chance = random.Random(5)
    networks = []
    for number in range(400):
        bits = chance.choice((8, 12, 16, 20, 24, 30, 32))
        networks.append((ipaddress.ip_network((chance.getrandbits(10) << 22, bits), strict=False), str(number)))
    for number in range(200):
        bits = chance.choice((8, 10, 16, 64, 128))
        networks.append((ipaddress.ip_network((chance.getrandbits(12) << 116, bits), strict=False), f"six{number}"))
    seen = {}
    for network, value in networks:
        seen[network] = value
    (tmp_path / "x.cidr").write_text("".join(f"{network} {value}\n" for network, value in seen.items()))
    maps.compile_file(str(tmp_path / "x.cidr"), str(tmp_path / "x.map"))
    found = maps.Map(str(tmp_path / "x.map"))
    for _ in range(2000):
        if chance.random() < 0.6:
            address = ipaddress.IPv4Address((chance.getrandbits(10) << 22) + chance.choice((0, 1, 255, -1)) & 0xFFFFFFFF)
        else:
            address = ipaddress.IPv6Address((chance.getrandbits(12) << 116) + chance.choice((0, 1)))
        inside = [network for network in seen if network.version == address.version and address in network]
        best = max(inside, key=lambda network: network.prefixlen, default=None)
        assert found.find(str(address).encode()) == (None if best is None else seen[best].encode()), address


def test_domains_against_a_plain_search(tmp_path):
    chance = random.Random(6)

    def name(most):
        return ".".join(chance.choice(("a", "b", "c", "", "d-e")) for _ in range(chance.randrange(1, most)))

    for entries in (["a"], [".a"], [".a.b", "c"], ["a..b", "..a"], [name(5) for _ in range(60)]):
        values = {}
        for number, entry in enumerate(entries):
            values.setdefault(entry.rstrip("."), f"v{number}")
        (tmp_path / "x.domains").write_text("".join(f"{key} {value}\n" for key, value in values.items() if key))
        maps.compile_file(str(tmp_path / "x.domains"), str(tmp_path / "x.map"))
        found = maps.Map(str(tmp_path / "x.map"))
        for _ in range(1000):
            asked = name(7)
            labels = asked.rstrip(".").split(".")
            suffixes = [".".join(labels[place:]) for place in range(len(labels))]
            wanted = [suffixes[0], *(key for suffix in suffixes[1:] for key in (suffix, "." + suffix))]
            best = next((values[key] for key in wanted if key and key in values), None)
            assert found.find(asked.upper().encode()) == (None if best is None else best.encode()), (asked, values)


@pytest.mark.parametrize("name, keys, looked", [
    ("www.host.listed.example", ["listed.example"], 1), ("www.host.other.example", ["listed.example"], 1),
    ("www.host.other.example", ["listed.example", ".below.example"], 2), ("a.b.c.d.e.f", ["x"], 1)])
def test_only_what_may_be_there_is_looked_for(tmp_path, monkeypatch, name, keys, looked):
    (tmp_path / "x.domains").write_text("".join(f"{key}\n" for key in keys))
    maps.compile_file(str(tmp_path / "x.domains"), str(tmp_path / "x.map"))
    found, made = maps.Map(str(tmp_path / "x.map")), []
    monkeypatch.setattr(maps, "_digest", lambda key, digest=maps._digest: made.append(key) or digest(key))
    found.find(name.encode())
    assert len(made) == looked


@pytest.mark.parametrize("name, text, words", [
    ("x.cidr", "10.0.0.0/33\n", "x.cidr:1: '10.0.0.0/33' is no network"), ("x.cidr", "\nhost\n", "x.cidr:2:"),
    ("x.txt", "", "ending of its name"), ("x.hash", "k" * 9000, "longer than"), ("x.regexp", "/(/\n", "x.regexp:1:"),
    ("x.regexp", "abc\n", "an entry is /expression/"),
    ("none.hash", None, "cannot be read: No such file")])
def test_files_that_make_no_sense_are_told_when_the_policy_is_loaded(tmp_path, capsys, name, text, words):
    from mailfilter import cli
    if name.endswith("regexp"):
        pytest.importorskip("re2")
    if text is not None:
        (tmp_path / name).write_text(text)
    (tmp_path / "policy.js").write_text(f"\nvar map = Maps.load('{name}');\n")
    assert cli.main(["check", str(tmp_path / "policy.js")]) == 1
    said = capsys.readouterr().err
    assert words in said and "policy.js:2:" in said


def test_only_files_that_the_policy_may_read(tmp_path, capsys):
    from mailfilter import cli
    (tmp_path / "policy").mkdir()
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/x.hash").write_text("a\n")
    os.symlink(tmp_path / "maps/x.hash", tmp_path / "policy/link.hash")
    for name in ("../maps/x.hash", str(tmp_path / "maps/x.hash"), "link.hash"):
        (tmp_path / "policy/p.js").write_text(f"var map = Maps.load('{name}');")
        assert cli.main(["check", str(tmp_path / "policy/p.js")]) == 1
        assert "is neither in the policy's folder" in capsys.readouterr().err
        assert cli.main(["check", str(tmp_path / "policy/p.js"), "--set", f"mapDirectory={tmp_path}/maps"]) == 0


def test_a_handler_cannot_name_files(work, folder):
    async def test(worker):
        outcome = await worker.session("SmtpServer.prototype.smtpVrfy = function (name) { Maps.load(name); };")("a.cidr")
        assert "top level of a policy" in outcome.fault.message
    work(test)


def test_a_file_that_changes_is_read_again_and_a_bad_one_is_not(work, folder, monkeypatch):
    monkeypatch.setattr(map_files, "CHECK_S", 0.0)

    async def test(worker):
        session = worker.session(ask("b.hash", "other", "new"))

        async def until(expected):
            for _ in range(1000):
                outcome = await session()
                if outcome.lines == [expected]:
                    return
                await asyncio.sleep(0.01)
            raise AssertionError(outcome.lines)

        await until('x["",null]')
        (folder / "fresh").write_text("new value\n")
        os.replace(folder / "fresh", folder / "b.hash")
        await until('x[null,"value"]')
        (folder / "fresh").write_text("k" * 9000)
        os.replace(folder / "fresh", folder / "b.hash")
        for _ in range(1000):
            await until('x[null,"value"]')
            if any("cannot be used as it is now" in text for text in worker.log.texts):
                break
            await asyncio.sleep(0.01)
        assert any("longer than" in text for text in worker.log.texts)
        os.unlink(folder / "b.hash")
        await until('x[null,"value"]')
    work(test)


def test_one_that_was_never_compiled_here(work, folder, tmp_path):
    """A worker whose cache is another one than that of who loaded the policy."""
    async def test(worker):
        file = map_files.open_map(worker.outside, str(folder / "c.domains"), str(tmp_path / "cache"))
        assert file.find(b"example.org") == (False, None)
        await file.ready()
        assert file.find(b"example.org") == (True, b"yes")
    work(test)
