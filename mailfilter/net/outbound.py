"""One connection to a next hop: the asyncio shell around _core.client.

Everything SMTP (which command is possible, what is a reply, is the dialogue in step) is decided by the core;
this file connects, writes, waits and watches the clock. It speaks callbacks, because a policy waits for one thing
at a time and a callback costs less than a task.

Must not know: JavaScript, the client's side.
"""
import asyncio
from collections import deque

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core.client import Client, ClientError
from mailfilter._core.fsm import NH_FINAL, NH_MAIL
from mailfilter.errors import MailfilterError, ServiceProtocolError, ServiceTimeout, ServiceUnavailable

__all__ = ["NextHop", "NotNow"]


class NotNow(MailfilterError):
    """A command that is not possible in the present state of the dialogue with the next hop."""


# The timeout that bounds the reply to a command, by its name in config.Timeouts.
_PATIENCE = {b"HELO": "hello", b"EHLO": "hello", b"LHLO": "hello", b"MAIL": "mail", b"RCPT": "rcpt", b"DATA": "data",
             b"RSET": "reset", b"QUIT": "quit"}
_LATE = {name: metrics.slot("timeouts_total", name) for name in (*_PATIENCE.values(), "greeting", "data_block", "data_end")}
_NOT_CONNECTED = metrics.slot("timeouts_total", "connect")


class NextHop(asyncio.Protocol):
    """A connection to `host`:`port` (or host "unix:/path"), closed until connect().

    touched, beyond_recall: set to False by whoever wants to know whether anything is sent from now on, and whether a whole
        message is, which the next hop may have accepted whatever happens then.
    Errors: ServiceUnavailable (connection), ServiceTimeout, ServiceProtocolError (what came is no SMTP), NotNow,
    ValueError-like texts for arguments that cannot be sent are NotNow too.
    """

    def __init__(self, loop, host, port, timeouts, log=None, session_id="-", debug=False):
        self.loop = loop
        self.host = host
        self.port = port
        self.timeouts = timeouts
        self.touched = True
        self.beyond_recall = False
        self._log = log
        self._session_id = session_id
        self._debug = debug
        self._client = Client()
        self._transport = None
        self._task = None
        self._receiver = None           # called with (reply, error) when the awaited reply is there
        self._sender = None             # called with (error) when the message has been handed over
        self._chunks = None
        self._writable = True
        self._timer = None
        self._patience = deque()        # names of timeouts, one for each reply that is still to come
        self._why_closed = None

    @property
    def name(self):
        """What to call it in messages: host:port or unix:/path."""
        if self.host.startswith("unix:"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def in_message(self):
        """Whether the next hop takes whatever comes for text of a message."""
        return self._client.in_message

    @property
    def in_transaction(self):
        """Whether the next hop has a transaction open, a message that has not ended included."""
        return NH_MAIL <= self._client.state < NH_FINAL

    # Opening and closing.

    def connect(self, done):
        """Connect, trying every address of the host; done(error or None) is called later."""
        self._patience.append("greeting")
        self._task = self.loop.create_task(self._connect(done))

    async def _connect(self, done):
        seconds = self.timeouts.connect
        try:
            async with asyncio.timeout(seconds):
                if self.host.startswith("unix:"):
                    await self.loop.create_unix_connection(lambda: self, self.host[5:])
                else:
                    await self.loop.create_connection(lambda: self, self.host, self.port)
        except TimeoutError:
            metrics.count(_NOT_CONNECTED)
            error = ServiceTimeout(f"Link has been severed: {self.name} did not answer within {seconds:g} s")
        except (OSError, ValueError) as problem:
            error = ServiceUnavailable(f"Link has been severed: {self.name}: {problem}")
        else:
            error = None
        self._task = None
        done(error)

    def connection_made(self, transport):
        """asyncio: the connection is open."""
        self._transport = transport
        if self._why_closed is not None:
            transport.abort()

    def close(self):
        """Close at once, without QUIT; whoever waits is not called any more. Harmless when closed."""
        self._receiver = self._sender = self._chunks = None
        self._shut("it was closed")

    def spoil(self, why):
        """Close because the dialogue cannot be continued, for the reason given."""
        self._shut(why)
        self._report(ServiceUnavailable(f"Input/output error: the connection to {self.name} was closed: {why}"))

    def _shut(self, why):
        if self._why_closed is None:
            self._why_closed = why
            self._client.eof()
        self._stop_timer()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._transport is not None:
            # abort, not close: a body still in the write buffer must not become a complete message by itself
            self._transport.abort()
            self._transport = None

    def connection_lost(self, error):
        """asyncio: the connection is gone."""
        self._transport = None
        self._stop_timer()
        if self._why_closed is None:
            self._why_closed = f"the next hop closed the connection{f' ({error})' if error else ''}"
            self._client.eof()
        self._deliver()
        self._report(ServiceUnavailable(f"Input/output error: {self.name}: {self._why_closed}"))

    # Commands and replies.

    def command(self, verb, arguments):
        """Write a command (bytes, and bytes or None)."""
        self._need_open()
        try:
            data = self._client.command(verb, arguments)
        except (ClientError, ValueError) as error:
            raise NotNow(f"{verb.decode('ascii', 'replace')}: {error}") from None
        self.touched = True
        self._patience.append(_PATIENCE.get(verb.upper(), "hello"))
        self._write(data)

    def receive(self, done):
        """The next reply if it is there; otherwise None, and done(reply, error) is called later."""
        reply = self._take()
        if reply is not None:
            return reply
        self._need_open()
        if self._client.outstanding == 0:
            raise NotNow(f"no reply of {self.name} is to be expected: send a command first")
        self._receiver = done
        self._start_timer(self._patience[0] if self._patience else "hello")
        return None

    def stop_receiving(self):
        """Whoever waits for a reply waits no longer."""
        self._receiver = None
        self._stop_timer()

    def resync(self):
        """The handler that talked to the next hop was cut off: get back into step, or close where that cannot be."""
        self.stop_receiving()
        if self._why_closed is None:
            if self._client.in_message:
                self.spoil("the policy failed in the middle of a message")
            else:
                self._client.resync()

    def data_received(self, data):
        """asyncio: octets from the next hop."""
        if self._debug:
            for line in data.split(b"\n"):
                if line:
                    self._log.write(logs.INFO, self._session_id, b"next hop > " + line.rstrip(b"\r"))
        self._client.feed(data)
        self._deliver()
        if self._client.failed is not None and self._receiver is not None:
            self._fail_protocol()

    def _take(self):
        """The next reply from the core, or None."""
        reply = self._client.next_reply()
        if reply is not None:
            if self._patience:
                self._patience.popleft()
            return reply
        failed = self._client.failed
        if failed is not None and failed.startswith("protocol error") and self._why_closed is None:
            self._fail_protocol()
            raise ServiceProtocolError(f"Protocol error: {self.name}: {failed}")
        return None

    def _deliver(self):
        if self._receiver is None:
            return
        try:
            reply = self._take()
        except ServiceProtocolError:
            return                          # reported already
        if reply is not None:
            done, self._receiver = self._receiver, None
            self._stop_timer()
            done(reply, None)

    def _fail_protocol(self):
        failed = self._client.failed
        self._shut(failed)
        self._report(ServiceProtocolError(f"Protocol error: {self.name}: {failed}"))

    # The message.

    def begin_message(self):
        """Check that the next hop waits for a message; NotNow otherwise."""
        self._need_open()
        try:
            self._client.begin_message()
        except ClientError as error:
            raise NotNow(f"sendMessage: {error}") from None
        self.touched = True

    def send_message(self, chunks, done):
        """Write the chunks and the final dot after begin_message(). True when all is handed over at once;
        otherwise False, and done(error or None) is called later."""
        self._chunks = chunks
        self._patience.append("data_end")
        if self._pump():
            return True
        self._sender = done
        return False

    def _pump(self):
        try:
            for chunk in self._chunks:
                self._write(chunk)
                if not self._writable:
                    self._start_timer("data_block")
                    return False
        except OSError as error:                # the spool cannot be read: nothing may follow what was sent
            self._chunks = None
            self.spoil(f"the message could not be read: {error.strerror}")
            raise ServiceUnavailable(f"Input/output error: the message could not be read: {error.strerror}") from error
        self._chunks = None
        try:
            self._write(self._client.end_message())
            self.beyond_recall = True
        except ClientError as error:            # it said something out of turn while the message was on its way
            self.spoil(str(error))
            raise ServiceUnavailable(f"Input/output error: {self.name}: {error}") from None
        return True

    def pause_writing(self):
        """asyncio: the write buffer is full."""
        self._writable = False

    def resume_writing(self):
        """asyncio: there is room in the write buffer again."""
        self._writable = True
        if self._chunks is None or self._transport is None:
            return
        self._stop_timer()
        try:
            finished = self._pump()
        except ServiceUnavailable:
            return                              # spoil() has told the sender
        if finished:
            done, self._sender = self._sender, None
            if done is not None:
                done(None)

    # Below.

    def _need_open(self):
        if self._transport is None:
            raise ServiceUnavailable("Transport endpoint is not connected: "
                                     f"{self.name}: {self._why_closed or 'it was never opened'}")

    def _write(self, data):
        if self._debug:
            for line in data.split(b"\r\n", 8)[:8]:
                if line:
                    self._log.write(logs.INFO, self._session_id, b"next hop < " + line[:512])
        if self._transport is None:
            raise ServiceUnavailable(f"Input/output error: {self.name}: {self._why_closed}")
        self._transport.write(data)

    def _report(self, error):
        """Tell whoever waits that it is over."""
        receiver, self._receiver = self._receiver, None
        sender, self._sender = self._sender, None
        self._chunks = None
        if receiver is not None:
            receiver(None, error)
        if sender is not None:
            sender(error)

    def _start_timer(self, name):
        self._stop_timer()
        seconds = getattr(self.timeouts, name)
        self._timer = self.loop.call_later(seconds, self._expired, name, seconds)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self, name, seconds):
        metrics.count(_LATE[name])
        self._timer = None
        self._shut(f"no answer within {seconds:g} s ({name})")
        self._report(ServiceTimeout(f"Connection timed out: {self.name}: no answer within {seconds:g} s ({name})"))
