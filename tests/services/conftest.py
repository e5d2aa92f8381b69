"""A resolver and a DNS server in the test's own loop."""
import asyncio
import gc

import pytest
import uvloop
from peers.dns import DnsServer

from mailfilter.services.dns import Resolver


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """`run(test, zone, **options)` runs `test(resolver, server)`; anything left over or logged fails."""
    def run(test, zone, **options):
        complaints = []

        async def body():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            async with DnsServer(zone) as server:
                resolver = Resolver(servers=[server.address], **options)
                try:
                    return await test(resolver, server)
                finally:
                    resolver.close()
                    await resolver.wait_closed()

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(body())
        gc.collect()
        assert complaints == []
        return result
    return run
