"""A DNS server on one loopback port for UDP and TCP that answers as it is told; in the test's own loop or in a thread."""
import asyncio
import threading

from dnslib import QTYPE, RCODE, RR, DNSRecord


class DnsServer:
    """`zone` maps (name without final dot, type name) to an answer:

    - a list of record lines in zone file form ("name 60 IN A 192.0.2.1"), [] for "no data";
    - a response code as a word ("NXDOMAIN", "SERVFAIL", "REFUSED");
    - SILENCE: no answer at all;
    - TRUNCATE(list): over UDP only the flag TC, over TCP the records;
    - bytes: sent as they are;
    - a function of the query (DNSRecord) that returns bytes.

    What is not in the zone is NXDOMAIN. `asked` has every question as (name, type, transport), in order; the event
    `questioned` is set by the first.
    """

    def __init__(self, zone):
        self.zone = {(name.lower(), kind): answer for (name, kind), answer in zone.items()}
        self.asked = []
        self.questioned = asyncio.Event()
        self.address = None

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        while True:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=("127.0.0.1", 0))
            port = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._serve_stream, "127.0.0.1", port)
                break
            except OSError:  # somebody has this port for TCP: try another
                self._udp.close()
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def count(self, kind):
        """How many questions of this type were asked."""
        return sum(1 for _, asked, _ in self.asked if asked == kind)

    def answer(self, data, transport):
        query = DNSRecord.parse(data)
        name, kind = str(query.q.qname).rstrip("."), QTYPE[query.q.qtype]
        self.asked.append((name, kind, transport))
        self.questioned.set()
        answer = self.zone.get((name.lower(), kind), "NXDOMAIN")
        if answer is SILENCE:
            return None
        if isinstance(answer, bytes):
            return answer
        if callable(answer):
            return answer(query)
        reply = query.reply()
        if isinstance(answer, TRUNCATE):
            if transport == "udp":
                reply.header.tc = 1
                return reply.pack()
            answer = answer.records
        if isinstance(answer, str):
            reply.header.rcode = getattr(RCODE, answer)
        else:
            for line in answer:
                reply.add_answer(*RR.fromZone(line))
        return reply.pack()

    async def _serve_stream(self, reader, writer):
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                data = self.answer(await reader.readexactly(size), "tcp")
                if data is not None:
                    writer.write(len(data).to_bytes(2, "big") + data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class SILENCE:
    """The query is read and not answered."""


class TRUNCATE:
    """The answer does not fit into a datagram."""

    def __init__(self, records):
        self.records = records


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, peer):
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, peer)


class DnsThread:
    """The same in a thread of its own, for tests whose program runs elsewhere: `with DnsThread(zone) as server:`.

    address, asked, zone: as of DnsServer. kind: the class of the server.
    """

    def __init__(self, zone, kind=DnsServer):
        self.zone = zone
        self.kind = kind
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self.kind(self.zone) as server:
            self.server, self.address, self.asked, self.zone = server, server.address, server.asked, server.zone
            self._ready.set()
            await self._stop.wait()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10), "the DNS server did not start"
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
