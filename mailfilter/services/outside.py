"""The services outside that the sessions of one worker use: each is made when it is first asked for, and shared by all.

Must not know: what kinds of services there are.
"""

__all__ = ["SERVICES", "Outside"]

SERVICES = 100
"""Services (addresses) that one worker keeps; the one used longest ago goes. A policy that makes up addresses from mail
does not fill the memory."""


class Outside:
    """Services by their kind and address. A service has close(), which must not wait, or gives a coroutine that does.

    loop: the event loop. report(text): a warning for the log that belongs to no session.
    """

    def __init__(self, loop, report):
        self.loop = loop
        self.report = report
        self._services = {}
        self._closing = set()

    def get(self, kind, address, make):
        """The service of a kind at an address (anything that can be a key); make(self) makes it."""
        key = kind, address
        service = self._services.pop(key, None)
        if service is None:
            service = make(self)
        self._services[key] = service
        if len(self._services) > SERVICES:
            self._end(self._services.pop(next(iter(self._services))))
        return service

    def _end(self, service):
        closing = service.close()
        if closing is not None:
            task = self.loop.create_task(closing)
            self._closing.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task):
        self._closing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.report(f"a service could not be closed: {task.exception()}")

    async def close(self):
        """Close all services."""
        services, self._services = self._services, {}
        for service in services.values():
            self._end(service)
        for task in list(self._closing):
            try:
                await task
            except Exception:           # _ended has said so
                continue
