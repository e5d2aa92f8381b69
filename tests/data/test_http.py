"""Http, against servers of the test's own: what goes out and comes back, redirects, servers that are away or talk nonsense."""
import asyncio
import gzip
import json
import ssl

import pytest
from certificates import Authority

from mailfilter.errors import ConfigError, TemporaryFailure
from mailfilter.services import http


class Web:
    """A server that answers by what `answers` says for a path: octets, or a function of the request's octets."""

    def __init__(self, answers, tls=None):
        self.answers, self.tls, self.asked, self._open = answers, tls, [], set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *error):
        self.server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._open.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split()[1])) if length else b""
                self.asked.append((head, body))
                answer = self.answers.get(head.split()[1].decode(), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                if answer is None:
                    await asyncio.get_running_loop().create_future()
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(asyncio.current_task())
            writer.close()


def said(body, status="200 OK", more=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), more, body)


def get(url, **options):
    return f"return Http.get({json.dumps(url)}, {json.dumps(options)});"


def test_what_goes_out_and_comes_back(work):
    async def test(worker):
        async with Web({"/a": said('{"a": "é"}'.encode(), more=b"X-Y: 1\r\nX-Y: 2\r\n"),
                        "/gone": said(b"no", "410 Gone")}) as web:
            found = await worker.run(f"""var a = Http.get('{web.url}/a', {{headers: {{'X-Key': 'k'}}}});
                return [a.status, a.ok, a.reason, a.headers['x-y'], a.json().a, a.url];""")
            assert found == [200, True, "OK", "1, 2", "é", f"{web.url}/a"]
            assert b"X-Key: k\r\n" in web.asked[0][0]
            found = await worker.run(f"var a = Http.post('{web.url}/gone', {{x: [1]}}); return [a.status, a.ok, a.text];")
            assert found == [410, False, "no"]
            head, body = web.asked[1]
            assert body == b'{"x":[1]}' and b"Content-Type: application/json" in head
            await worker.run(f"Http.request('put', '{web.url}/a', 'te\\udcffxt', "
                             "{headers: {'content-type': 'x/y'}}); return 1;")
            head, body = web.asked[2]
            assert head.startswith(b"PUT /a ") and body == b"te\xffxt"
    work(test)


def test_redirects_are_followed_when_asked_and_not_for_ever(work):
    async def test(worker):
        async with Web({}) as other, Web({}) as web:
            other.answers["/end"] = said(b"there")
            web.answers.update({
                "/one": said(b"", "302 Found", b"Location: /two\r\n"),
                "/two": said(b"", "301 Moved", b"Location: %s/end\r\n" % other.url.encode()),
                "/round": said(b"", "307 Temporary", b"Location: /round\r\n"),
                "/file": said(b"", "302 Found", b"Location: file:///etc/passwd\r\n")})
            assert (await worker.run(get(f"{web.url}/one")))["status"] == 302
            secret = {"Authorization": "Bearer secret"}
            found = await worker.run(get(f"{web.url}/one", redirects=5, headers=secret))
            assert (found["text"], found["url"]) == ("there", f"{other.url}/end")
            assert b"secret" in web.asked[-1][0] and b"secret" not in other.asked[-1][0]
            assert (await worker.run(get(f"{web.url}/round", redirects=3)))["status"] == 307
            assert len([1 for head, _ in web.asked if b"/round" in head]) == 4
            assert await worker.run(get(f"{web.url}/file", redirects=1, away="accept")) is None
    work(test)


def test_sizes_are_bounded_also_of_what_is_packed(work):
    async def test(worker):
        packed = gzip.compress(b"\0" * 50_000_000)
        async with Web({"/big": said(b"x" * 5000), "/zip": said(packed, more=b"Content-Encoding: gzip\r\n"),
                        "/endless": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n",
                        }) as web:
            assert await worker.run(get(f"{web.url}/big", limit=4999, away="accept")) is None
            assert len((await worker.run(get(f"{web.url}/big", limit=5000)))["text"]) == 5000
            assert await worker.run(get(f"{web.url}/zip", away="accept")) is None
            assert await worker.run(get(f"{web.url}/endless", limit=500, away="accept")) is None
    work(test)


def test_addresses_that_are_not_public(work):
    async def test(worker):
        async with Web({"/": said(b"inside")}) as web:
            assert (await worker.run(get(f"{web.url}/")))["text"] == "inside"
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"):
                url = f"http://{host}:{web.port}/"
                assert await worker.run(get(url, publicOnly=True, away="accept", timeout=3)) is None, host
            assert len(web.asked) == 1
    work(test)


@pytest.mark.parametrize("address, public", [
    ("192.0.2.1", False), ("10.1.2.3", False), ("169.254.169.254", False), ("::1", False), ("fe80::1%eth0", False),
    ("::ffff:10.0.0.1", False), ("2002:0a00:0001::", False), ("224.0.0.1", False), ("1.1.1.1", True), ("2606:4700::1", True)])
def test_what_is_public(address, public):
    assert http._is_public(address) is public


def test_tls(work, tmp_path):
    async def test(worker):
        authority = Authority(tmp_path)
        certificate = authority.make("localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate.pair)
        async with Web({"/": said(b"safe")}, context) as web:
            url = f"https://localhost:{web.port}/"
            assert await worker.run(get(url, away="accept")) is None
            assert (await worker.run(get(url, ca=str(authority.file))))["text"] == "safe"
            assert (await worker.run(get(url, verify=False)))["text"] == "safe"
    work(test)


@pytest.mark.parametrize("answer", [
    None, b"", b"\0" * 100, b"HTTP/1.1 abc\r\n\r\n", b"220 mx ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_silence_and_nonsense(work, answer):
    async def test(worker):
        async with Web({"/": answer}) as web:
            session = worker.session("SmtpServer.prototype.smtpVrfy = function () { "
                                     f"Http.get('{web.url}/', {{timeout: 0.3}}); }};")
            begun = worker.loop.time()
            outcome = await session()
            assert type(outcome.fault) is TemporaryFailure, outcome.fault
            assert worker.loop.time() - begun < 5
    work(test)


def test_what_becomes_of_it_when_the_server_is_away_and_back_again(work):
    async def test(worker):
        async with Web({"/": said(b"x")}) as web:
            url, port = f"{web.url}/", web.port
            assert (await worker.run(get(url)))["text"] == "x"
        assert await worker.run(get(url, away="accept")) is None
        with pytest.raises(AssertionError, match="ServiceUnavailable"):
            await worker.run(get(url, away="throw"))
        async with Web({"/": said(b"y")}) as web:
            assert web.port != port
            assert (await worker.run(get(f"{web.url}/")))["text"] == "y"
    work(test)


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "http://", "x", "http://a b/", "http://h:99999/",
                                 "http://h\\@x/"])
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError):
        http.origin(url)


@pytest.mark.parametrize("code", ["Http.get('http://127.0.0.1:1/', {headers: {'X': 'a\\r\\nY: b'}})",
                                  "Http.get('http://127.0.0.1:1/', {headers: {'X: y': 'a'}})",
                                  "Http.get('http://127.0.0.1:1/', {redirects: 9})",
                                  "Http.get('http://127.0.0.1:1/', {limit: 1e9})",
                                  "Http.request('GET /x', 'http://127.0.0.1:1/')", "Http.get('gopher://x/')"])
def test_requests_that_cannot_be_made(work, code):
    async def test(worker):
        outcome = await worker.session(f"SmtpServer.prototype.smtpVrfy = function () {{ {code}; }};")()
        assert outcome.fault is not None and type(outcome.fault) is not TemporaryFailure
    work(test)
