"""aiosmtpd on uvloop: `PYTHON aiosmtpd_server.py PORT MODE [NEXT HOP | CERTIFICATE KEY]`, run by the environment it is in."""
import asyncio
import ssl
import sys

import uvloop
from aiosmtpd.handlers import Proxy
from aiosmtpd.smtp import SMTP


class Discard:
    """Takes every message."""

    async def handle_DATA(self, server, session, envelope):
        return "250 2.0.0 dropped"


class RefuseRcpt:
    """Knows nobody."""

    async def handle_RCPT(self, server, session, envelope, address, options):
        return "550 5.1.1 no such user"


class RefuseData:
    """Wants no message."""

    async def handle_DATA(self, server, session, envelope):
        return "550 5.7.1 not this"


async def main(port, mode, *more):
    options = {"data_size_limit": 51200000, "hostname": "mx.example.test"}
    if mode == "proxy":
        handler = Proxy("127.0.0.1", int(more[0]))
    else:
        handler = {"refuse-rcpt": RefuseRcpt, "refuse-data": RefuseData}.get(mode, Discard)()
    if mode == "tls":
        options["tls_context"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*more)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, loop=loop, **options), "127.0.0.1", int(port), backlog=4096)
    await server.serve_forever()


uvloop.run(main(*sys.argv[1:]))
