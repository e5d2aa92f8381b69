"""Store, RateLimit and Greylist: in the embedded store and in a real Redis; several workers, servers that are away."""
import asyncio
import json
import multiprocessing
import sqlite3

import databases
import pytest
from peers.waiting import free_port

from mailfilter.errors import ConfigError, TemporaryFailure
from mailfilter.services import store as stores
from mailfilter.services import store_sqlite

TEST_SECONDS = 120


@pytest.fixture(params=["embedded", "redis"])
def url(request, tmp_path):
    if request.param == "embedded":
        return f"{tmp_path}/store/store.db"
    return request.getfixturevalue("redis").url


_PREFIXES = iter(range(10_000))


def opened(url, **options):
    options.setdefault("prefix", f"test{next(_PREFIXES)}:")
    return f"var store = Store.open({json.dumps(url)}, {json.dumps(options)});"


def test_values(url, work):
    async def test(worker):
        assert await worker.run(f"""{opened(url)} var said = [store.get('a')];
            said.push(store.set('a', {{x: [1, 'é', null]}}, 60), store.get('a'), store.add('a', 2, 60),
                      store.add('b', 'two', 60),
                      store.get('b'), store.remove('b'), store.remove('b'), store.get('b'));
            store.set('c', 1, 0.001); store.set('c', 1, 0.001);
            return said;""") == [None, True, {"x": [1, "é", None]},
                                                 {"x": [1, "é", None]}, None, "two", True, False, None]
    work(test)


def test_counters(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)} return [store.counted('n', 3600), store.count('n', 3600),
            store.count('n', 3600, 4), store.counted('n', 3600),
            store.take('t', 2, 3600), store.take('t', 2, 3600), store.take('t', 2, 3600),
            store.count('f', 60, 0.5)];""")
        assert found[:4] == [0, 1, 5, 5] and [taken["allowed"] for taken in found[4:7]] == [True, True, False]
        assert found[6]["count"] == 2 and found[7] == 0.5
    work(test)


def test_sets(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)} return [store.include('s', 'a', 60), store.include('s', 'a', 60),
            store.include('s', 'b', 60), store.has('s', 'a'), store.has('s', 'c'), store.members('s').sort(),
            store.members('s', 1).length,
            store.discard('s', 'a'), store.discard('s', 'a'), store.has('s', 'a'), store.members('nothing')];""")
        assert found == [True, False, True, True, False, ["a", "b"], 1, True, False, False, []]
    work(test)


def test_ages(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)} var a = store.age('k', 60, 0, 60), b = store.age('k', 60, 0, 60);
            return [a, b >= 0 && b < 20];""")
        assert found == [None, True]
    work(test)


def test_what_expires_is_gone(url, work):
    async def test(worker):
        options = opened(url)
        await worker.run(f"{options} store.set('v', 1, 0.05); store.include('s', 'm', 0.05); "
                         "return store.age('k', 0.05, 100, 1);")
        seen = None
        while seen != [None, False, []]:        # the alarm ends it
            seen = await worker.run(f"{options} return [store.get('v'), store.has('s', 'm'), store.members('s')];")
        assert await worker.run(f"{options} return store.age('k', 9, 9, 9);") is None
    work(test)


def test_what_cannot_be_kept(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)} var said = [];
            [function () {{ store.set('k', 'x'.repeat(70000), 5); }}, function () {{ store.set('k', 1, 0); }},
             function () {{ store.set('k', undefined, 5); }}, function () {{ store.get('k'.repeat(5000)); }},
             function () {{ store.count('k', NaN); }}, function () {{ store.take('k', Infinity, 5); }}].forEach(function (f) {{
                try {{ f(); said.push('?'); }} catch (e) {{ said.push(e.name); }} }});
            return said;""")
        assert found == ["RangeError", "RangeError", "TypeError", "RangeError", "TypeError", "TypeError"]
    work(test)


@pytest.mark.parametrize("verb", ["count", "take"])
def test_many_at_the_same_time_count_right(url, verb, work):
    async def test(worker):
        call = "store.count('n', 3600)" if verb == "count" else "store.take('n', 25, 3600).allowed"
        found = await asyncio.gather(*(worker.run(f"{options} return {call};") for options in [opened(url)] for _ in range(40)))
        assert sorted(found) == (list(range(1, 41)) if verb == "count" else [False] * 15 + [True] * 25)
    work(test)


def _count_in_a_process(path, times):
    async def body():
        from mailfilter.services.outside import Outside
        outside = Outside(asyncio.get_running_loop(), print)
        store = stores.open_store(outside, stores.parse(path))
        for _ in range(times):
            await asyncio.gather(*(store.circuit.run(lambda: store.perform("count", b"n", [3600.0, 1]), 30) for _ in range(10)))
        await outside.close()
    asyncio.run(body())


def test_the_embedded_store_is_shared_by_processes_and_outlives_them(work, tmp_path):
    path = str(tmp_path / "shared.db")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count_in_a_process, args=(path, 20)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0

    async def test(worker):
        assert await worker.run(f"{opened(path, prefix='')} return store.counted('n', 3600);") == 400
    work(test)


def test_windows_slide():
    state = (-1, 0, 0)
    *state, within = stores.slide(100.0, 10, *state)
    assert within == 0
    state[1] += 8
    assert stores.slide(109.0, 10, *state)[3] == 8
    assert stores.slide(112.5, 10, *state)[3] == 6          # a quarter of the part before has gone
    assert stores.slide(120.0, 10, *state)[3] == 0


def test_a_full_store_makes_room(work, tmp_path, monkeypatch):
    monkeypatch.setattr(store_sqlite, "BYTES", 400_000)

    async def test(worker):
        options = opened(f"{tmp_path}/full.db")
        for round_ in range(3):
            await worker.run(f"{options} for (var i = 0; i < 300; i++) {{ "
                             f"store.set('{round_}-' + i, 'x'.repeat(1000), 60 + i); }} return 1;")
        assert await worker.run(f"{options} return store.get('2-299').length;") == 1000
    work(test)


def test_what_has_expired_is_removed(work, tmp_path, monkeypatch):
    monkeypatch.setattr(store_sqlite, "_PURGE_S", 0.0)

    async def test(worker):
        options = opened(f"{tmp_path}/purge.db")
        await worker.run(f"{options} for (var i = 0; i < 50; i++) {{ store.set('k' + i, 1, 0.01); "
                         "store.count('k' + i, 0.005); } return 1;")
        left = None
        while left != (0,):                     # the alarm ends it
            await worker.run(f"{options} return store.get('x');")
            file = sqlite3.connect(tmp_path / "purge.db")
            left = file.execute("SELECT (SELECT COUNT(*) FROM entries) + (SELECT COUNT(*) FROM counters)").fetchone()
            file.close()
    work(test)


# Away.

def asking(url, **options):
    return (f"{opened(url, **options)} SmtpServer.prototype.smtpVrfy = function () {{ "
            "return new SmtpResponse(250, 'x' + store.count('n', 60)); };")


def test_what_becomes_of_it_when_the_store_is_away(work, tmp_path):
    async def test(worker):
        (tmp_path / "none").write_text("no database, and long enough to see that " * 100)
        for url in ("redis://127.0.0.1:1/0", f"{tmp_path}/none"):
            assert type((await worker.session(asking(url))()).fault) is TemporaryFailure
            assert (await worker.session(asking(url, away="accept"))()).lines == ["x0"]
            assert "ServiceUnavailable" in (await worker.session(asking(url, away="throw"))()).fault.message
    work(test)


def test_redis_killed_hung_and_back_again(work):
    server = databases.Redis()

    async def test(worker):
        ask = worker.session(asking(server.url, timeout=0.4))
        circuit = stores.open_store(worker.outside, stores.parse(server.url)).circuit
        assert (await ask()).lines == ["x1"]
        server.hang()
        begun = worker.loop.time()
        assert type((await ask()).fault) is TemporaryFailure and worker.loop.time() - begun < 5
        server.wake()
        assert (await ask()).lines in (["x2"], ["x3"])      # what was asked while it hung may have been done
        server.kill()
        for _ in range(8):
            assert type((await ask()).fault) is TemporaryFailure
        assert any("is away" in text for text in worker.log.texts)
        await asyncio.to_thread(server.start)
        circuit.open_until = 0.0
        assert (await ask()).lines == ["x1"]
        assert any("answers again" in text for text in worker.log.texts)
    try:
        work(test)
    finally:
        server.finish()


@pytest.mark.parametrize("says", [None, b"\0" * 64, b"$-7\r\n", b":abc\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n",
                                  b"-ERR no\r\n", b"-LOADING later\r\n"])
def test_silence_and_nonsense(says, work):
    async def test(worker):
        async def babble(reader, writer):
            try:
                while await reader.read(1000):
                    if says is not None:
                        writer.write(says)
            except ConnectionError:
                pass
            writer.close()

        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        ask = worker.session(asking(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", timeout=0.3))
        begun = worker.loop.time()
        fault = (await ask()).fault
        assert fault is not None and worker.loop.time() - begun < 5
        if says != b"-ERR no\r\n":
            assert type(fault) is TemporaryFailure, fault
        server.close()
    work(test)


def test_an_answer_after_the_deadline_is_nobody_elses(work):
    """A server that answers each request late: the next one must not take the answer for its own."""
    async def test(worker):
        asked, open_, over = [], [], asyncio.Event()

        async def late(reader, writer):
            open_.append(1)
            try:
                while data := await reader.read(1000):
                    if b"GET" not in data:
                        writer.write(b"+OK\r\n" * data.count(b"*"))
                        continue
                    asked.append(data)
                    key = data.split(b"\r\n")[-2]
                    await asyncio.sleep(0.3 if key.endswith(b"slow") else 0)
                    writer.write(b"$%d\r\n\"%s\"\r\n" % (len(key) + 2, key))
            except ConnectionError:
                pass
            writer.close()
            open_.pop()
            if not open_:
                over.set()

        server = await asyncio.start_server(late, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        slow = worker.session(f"{opened(url, timeout=0.1)} SmtpServer.prototype.smtpVrfy = function () {{ store.get('slow'); }};")
        assert type((await slow()).fault) is TemporaryFailure
        for _ in range(3):
            assert (await worker.run(f"{opened(url)} return store.get('quick');")).endswith(":quick")
        await worker.outside.close()
        server.close()
        await asyncio.wait_for(over.wait(), 5)
    work(test)


# Cluster and Sentinel.

def test_a_cluster(work):
    server = databases.Redis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))

    async def test(worker):
        import redis.asyncio as client
        direct = client.Redis(port=server.port)
        await direct.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        for _ in range(500):
            if (await direct.execute_command("CLUSTER INFO"))["cluster_state"] == "ok":
                break
            await asyncio.sleep(0.02)
        await direct.aclose()
        url = f"redis+cluster://127.0.0.1:{server.port}"
        assert await worker.run(f"{opened(url, timeout=5)} return [store.count('a', 60), store.count('b', 60), "
                                "store.add('c', 1, 9), store.get('c'), store.include('s', 'x', 9), store.members('s')];"
                                ) == [1, 1, None, 1, True, ["x"]]
    try:
        work(test)
    finally:
        server.finish()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/mail"])
def test_nothing_is_asked_twice(url):
    """A request that was sent may have been done; the library would send it again where nobody says that it must not."""
    from mailfilter.services import store_redis
    first, *_more = store_redis._connect(stores.parse(url).place)
    retry = first.retry if "cluster" in url else first.connection_pool.connection_kwargs["retry"]
    assert retry.get_retries() == 0


def test_a_sentinel(work):
    server = databases.Redis()
    port = free_port()

    class Sentinel(databases.Redis):
        def prepare(self):
            import os
            path = os.path.join(self.folder, "sentinel.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(f"port {self.port}\nbind 127.0.0.1\nsentinel monitor mail 127.0.0.1 {server.port} 1\n")
            os.chmod(path, 0o666)
            os.chmod(self.folder, 0o777)

        def command(self):
            import os
            return [databases.program("redis-server"), os.path.join(self.folder, "sentinel.conf"), "--sentinel"]

    sentinel = Sentinel()

    async def test(worker):
        url = f"redis+sentinel://127.0.0.1:{port},127.0.0.1:{sentinel.port}/mail/0"
        assert await worker.run(f"{opened(url, timeout=10)} return [store.count('a', 60), store.count('a', 60)];") == [1, 2]
    try:
        work(test)
    finally:
        sentinel.finish()
        server.finish()


@pytest.mark.parametrize("url, label", [
    ("redis://u:secret@h/3", "redis://h:6379/"), ("rediss://h:7000", "rediss://h:7000/"),
    ("unix:/run/redis.sock", "unix:/run/redis.sock"),
    ("redis+sentinel://a,b:5/mail/2", "redis+sentinel://a:26379,b:5/mail"), ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2/"),
    ("/var/lib/x.db", "store /var/lib/x.db"), ("sqlite:///x.db", "store /x.db")])
def test_urls(url, label):
    assert stores.parse(url).label == label


@pytest.mark.parametrize("url", ["http://x", "redis://a,b/0", "redis://h/x", "redis+sentinel://h", "redis+magic://h",
                                 "redis://h:99999/0"])
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError):
        stores.parse(url)


def test_where_the_embedded_store_is():
    assert stores.default_path({"STATE_DIRECTORY": "/var/lib/mailfilter:/x"}) == "/var/lib/mailfilter/store.db"
    assert stores.default_path({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/mailfilter/store.db"
    assert stores.default_path({"HOME": "/h"}) == "/h/.local/state/mailfilter/store.db"
    assert stores.default_path({}) is None


# On top of it.

def test_rate_limits(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)} var limit = new RateLimit('r', {{most: 3, seconds: 60, store: store}});
            return [limit.take('a'), limit.take('a', 2), limit.take('a'), limit.take('b').allowed, limit.count('a'),
                    RateLimit.network('192.0.2.77'), RateLimit.network('192.0.2.77', 24),
                    RateLimit.network('::ffff:192.0.2.77', 24),
                    RateLimit.network('2001:db8:1:2:3::4'), RateLimit.network('local')];""")
        assert found[0] == {"allowed": True, "count": 1, "retryAfter": 0} and found[1]["count"] == 3
        assert not found[2]["allowed"] and found[2]["count"] == 3 and 0 < found[2]["retryAfter"] <= 60
        assert found[3:] == [True, 3, "192.0.2.77/32", "192.0.2.0/24", "192.0.2.0/24", "2001:db8:1:2::/64", "local"]
    work(test)


CLIENT = "{address: '192.0.2.5', sender: '<a1@example.org>', recipient: '<b@example.net>', helo: 'x'}"


def test_greylisting(url, work):
    async def test(worker):
        options = opened(url)
        ask = f"""{options} var grey = new Greylist({{delay: 300, store: store, autoAllow: 2, allow: ['198.51.100.0/24']}});
                  function check(changes) {{ var c = {CLIENT}; for (var k in changes) {{ c[k] = changes[k]; }}
                                             return grey.check(c); }}"""
        first = await worker.run(f"{ask} return [check(), check(), check({{address: '192.0.2.9', sender: 'A77@example.org'}}), "
                                 "check({recipient: 'c@x'}), check({address: '198.51.100.7'})];")
        assert [found["reason"] for found in first] == ["new", "early", "early", "new", "allowed"]
        assert not first[0]["pass"] and first[0]["wait"] == 300 and first[4]["pass"]
        ask = ask.replace("300", "0.001")
        then = await worker.run(f"{ask} return [check(), check({{recipient: 'c@x'}}), check({{recipient: 'new@x'}}), "
                                "check({address: '203.0.113.1'})];")
        assert [found["reason"] for found in then] == ["passed", "passed", "known network", "new"]
    work(test)


def test_who_need_not_wait(url, work):
    async def test(worker):
        found = await worker.run(f"""{opened(url)}
            function list(answer) {{ return {{check: function () {{ return answer; }}}}; }}
            function reason(options) {{ options.store = store; return new Greylist(options).check({CLIENT}).reason; }}
            return [reason({{allowLists: list({{allowed: true}})}}), reason({{allowLists: list({{allowed: false}})}}),
                    reason({{onlyListed: list({{listed: false}})}}), reason({{onlyListed: list({{listed: true}})}}),
                    reason({{allow: {{has: function (address) {{ return address === '192.0.2.5'; }}}}}})];""")
        assert found == ["allow-list", "early", "not listed", "early", "allowed"]
    work(test)


def test_greylisting_without_its_store(work):
    async def test(worker):
        code = ("var grey = new Greylist({store: Store.open('redis://127.0.0.1:1/0', {away: '%s'})}); return grey.check("
                + CLIENT + ").pass;")
        assert await worker.run(code % "accept") is True
        with pytest.raises(AssertionError, match="127.0.0.1:1"):
            await worker.run(code % "tempfail")
    work(test)
