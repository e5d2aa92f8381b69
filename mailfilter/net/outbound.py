"""One connection to a next hop: the asyncio shell around _core.client.

Everything SMTP (which command is possible, what is a reply, is the dialogue in step) is decided by the core;
this file connects, writes, waits and watches the clock. It speaks callbacks, because a policy waits for one thing
at a time and a callback costs less than a task.

What of a message is one chunk of BDAT is decided here, too, as it is a matter of what comes out of the spool.

Compiled: outbound.pxd. Must not know: JavaScript, the client's side, what TLS demands are (net/tls.py), which connections
are kept (net/pool.py).
"""
from functools import partial

from mailfilter import log as logs
from mailfilter import metrics
from mailfilter._core.client import Client, ClientError
from mailfilter._core.fsm import NH_CHUNKS, NH_FINAL, NH_MAIL, NH_RCPT, NH_TLS
from mailfilter.errors import MailfilterError, ServiceProtocolError, ServiceTimeout, ServiceUnavailable
from mailfilter.net.tls_stream import upgrade
from mailfilter.policy.alarm import Alarm
from mailfilter.services.last_words import last_words

__all__ = ["CHUNK_BYTES", "NextHop", "NotNow"]

CHUNK_BYTES = 262144
"""A message that goes out by BDAT is cut into chunks of this size or a little more: a next hop that does not want it can
say so before it has all of it."""

# A last piece of a message up to this size leaves together with the final dot; larger ones are not copied for that.
WITH_THE_DOT = 65536


class NotNow(MailfilterError):
    """A command that is not possible in the present state of the dialogue with the next hop."""


# Commands that leave nothing behind which RSET does not take back, and the timeout (config.Timeouts) of the reply to each. After
# any other, one that only this next hop knows included, a connection is fit for nobody else.
_HARMLESS = {b"MAIL": "mail", b"RCPT": "rcpt", b"DATA": "data", b"RSET": "reset", b"NOOP": "hello", b"VRFY": "hello",
             b"EXPN": "hello", b"HELP": "hello", b"QUIT": "quit"}
_HELLO = frozenset((b"EHLO", b"HELO", b"LHLO"))
_LATE = {name: metrics.slot("timeouts_total", name) for name in (*_HARMLESS.values(), "greeting", "data_block", "data_end")}
_HANDSHAKES = {outcome: metrics.slot("next_hop_tls_total", outcome) for outcome in ("full", "resumed", "failed")}
_OPENED, _FAILED = (metrics.slot("next_hop_connections_total", outcome) for outcome in ("opened", "failed"))
_NOT_CONNECTED = metrics.slot("timeouts_total", "connect")


class NextHop:
    """A connection to `host`:`port` (or host "unix:/path"), closed until connect().

    lmtp: whether it speaks LMTP. source: our own (address, port), or None. preface: octets in front of everything, a header
    of the PROXY protocol. tls: facts of the connection's TLS, or None. hello: the name that was told last in EHLO, HELO or LHLO.
    touched, beyond_recall: set to False by whoever wants to know whether anything is sent from now on, and whether a whole
        message is, which the next hop may have accepted whatever happens then.
    on_idle_end: set by a pool that keeps the connection while nobody uses it; called when it says or does anything.
    Errors: ServiceUnavailable (connection), ServiceTimeout, ServiceProtocolError (what came is no SMTP), NotNow,
    ValueError-like texts for arguments that cannot be sent are NotNow too.
    """

    def __init__(self, loop, host, port, timeouts, log=None, session_id="-", debug=False, *, lmtp=False, source=None,
                 preface=b""):
        self.loop = loop
        self.host = host
        self.port = port
        self.timeouts = timeouts
        self.source = source
        self.preface = preface
        self.touched = True
        self.beyond_recall = False
        self.tls = None
        self.hello = None
        self.on_idle_end = None
        self._private = False           # a command was sent that is not harmless
        self._log = log
        self._session_id = session_id
        self._debug = debug
        self._client = Client(lmtp=lmtp)
        self._transport = None
        self._task = None               # connects
        self._opened = None             # called with (error) when that has ended
        self._receiver = None           # called with (reply, error) when the awaited reply is there
        self._sender = None             # called with (error) when the message has been handed over
        self._chunks = None             # what of the message is not written yet
        self._ahead = b""               # its next piece, which the final dot may go with
        self._by_chunks = False         # it goes out by BDAT: _chunks gives (pieces, octets, whether it is the last)
        self._writable = True
        self._upgraded = None           # called with (reply, error) when STARTTLS is refused or TLS is there
        self._alarm = None
        self._late, self._late_s = None, 0.0    # the timeout that is running, and its seconds
        self._patience = []             # names of timeouts, one for each reply that is still to come
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
        return NH_MAIL <= self._client.machine.state < NH_FINAL

    @property
    def extensions(self):
        """What it offers: parameters by keyword in capitals, bytes."""
        return self._client.extensions

    @property
    def lmtp(self):
        """Whether it speaks LMTP."""
        return self._client.lmtp

    @property
    def recipients(self):
        """How many recipients it has accepted in this transaction."""
        return self._client.recipients

    @property
    def pristine(self):
        """Whether somebody else's transaction could follow on this connection."""
        return (self._transport is not None and self._why_closed is None and self._receiver is None
                and self._sender is None and self._chunks is None and not self.preface and not self._private
                and self._client.pristine)

    def adopt(self, timeouts, log, session_id, debug):
        """It belongs to this session from now on."""
        self.timeouts = timeouts
        self._log = log
        self._session_id = session_id
        self._debug = debug
        self.touched = True
        self.beyond_recall = False

    def lend(self, other):
        """Another connection takes this one's place in its session."""
        other.adopt(self.timeouts, self._log, self._session_id, self._debug)

    # Opening and closing.

    def connect(self, done):
        """Connect, trying every address of the host; done(error or None) is called later."""
        self._patience.append("greeting")
        self._opened = done
        if self.host.startswith("unix:"):
            opening = self.loop.create_unix_connection(lambda: self, self.host[5:])
        else:
            opening = self.loop.create_connection(lambda: self, self.host, self.port, local_addr=self.source)
        self._task = self.loop.create_task(opening)
        self._task.add_done_callback(self._opening_ended)
        self._start_timer("connect")

    def connection_made(self, transport):
        """asyncio: the connection is open."""
        self._transport = transport
        if self._why_closed is not None:
            transport.abort()
            return
        if self.preface:
            transport.write(self.preface)
        if self._opened is not None:
            self._tell_opened(None)

    def _opening_ended(self, task):
        """The attempt is over. That it has succeeded was told by connection_made."""
        if self._task is task:
            self._task = None
        problem = None if task.cancelled() else task.exception()
        if problem is not None and self._opened is not None:
            self._tell_opened(ServiceUnavailable(f"Link has been severed: {self.name}: {problem}"))

    def _not_opened(self, seconds):
        """No address has answered in time."""
        metrics.count(_NOT_CONNECTED)
        self._task.cancel()
        self._tell_opened(ServiceTimeout(f"Link has been severed: {self.name} did not answer within {seconds:g} s"))

    def _tell_opened(self, error):
        metrics.count(_OPENED if error is None else _FAILED)
        if error is None:
            self._stop_timer()
        else:
            self._end_timer()
        done, self._opened = self._opened, None
        done(error)

    def close(self):
        """Close at once, without QUIT; whoever waits is not called any more. Harmless when closed."""
        self._opened = self._receiver = self._sender = self._chunks = self._upgraded = None
        self._shut("it was closed")

    def leave(self):
        """Say QUIT, and close without waiting for the reply."""
        self._opened = self._receiver = self._sender = self._chunks = self._upgraded = None
        if self._why_closed is None and self._transport is not None:
            try:
                self._write(self._client.command(b"QUIT"))
            except ClientError:
                pass
            else:
                self._why_closed = "QUIT was sent"
                self._client.eof()
                self._end_timer()
                self._transport.close()
                self._transport = None
                return
        self.close()

    def spoil(self, why):
        """Close because the dialogue cannot be continued, for the reason given."""
        self._shut(why)
        self._report(ServiceUnavailable(f"Input/output error: the connection to {self.name} was closed: {why}"))

    def _shut(self, why):
        if self._why_closed is None:
            self._why_closed = why
            self._client.eof()
        self._end_timer()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._transport is not None:
            # abort, not close: a body still in the write buffer must not become a complete message by itself
            self._transport.abort()
            self._transport = None

    def connection_lost(self, error):
        """asyncio: the connection is gone."""
        if error is not None and self._why_closed is None and self._transport is not None and self.on_idle_end is None:
            words = last_words(self._transport)
            # Why it did not want the rest of a message. It can have accepted nothing: what was written is lost in part.
            if words[:1] in (b"4", b"5"):
                self._client.feed(words)
        self._transport = self._chunks = None
        self._end_timer()
        if self._why_closed is None:
            self._why_closed = f"the next hop closed the connection{f' ({error})' if error else ''}"
            self._client.eof()
        if self.on_idle_end is not None:
            self.on_idle_end()
        self._deliver()
        if self._receiver is not None or self._sender is not None:
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
        patience = _HARMLESS.get(verb)
        if patience is None:            # written otherwise, or one that leaves something behind
            self._note(verb, arguments)
            patience = _HARMLESS.get(verb[:4].upper(), "hello")
        self._patience.append(patience)
        if data:
            self._write(data)

    def _note(self, verb, arguments):
        """Remember what a command leaves behind."""
        verb, _, rest = (verb if arguments is None else verb + b" " + arguments).strip().partition(b" ")
        verb = verb.upper()
        if verb in _HELLO:
            self.hello = rest.strip()
        elif verb not in _HARMLESS:
            self._private = True

    def auth_line(self, line):
        """Write the answer to a challenge of AUTH: base64, or b"*" to give the exchange up."""
        self._need_open()
        try:
            data = self._client.auth_line(line)
        except (ClientError, ValueError) as error:
            raise NotNow(f"AUTH: {error}") from None
        self.touched = True
        self._patience.append("hello")
        self._write(data, b"(answer to a challenge)")

    def receive(self, done):
        """The next reply if it is there; otherwise None, and done(reply, error) is called later."""
        reply = self._take()
        if reply is not None:
            return reply
        self._need_open()
        if self._client.awaited() == 0:
            raise NotNow(f"no reply of {self.name} is to be expected: send a command first")
        self._receiver = done
        self._start_timer(self._patience[0] if self._patience else "data_end" if self._client.in_message else "hello")
        return None

    def stop_receiving(self):
        """Whoever waits for a reply waits no longer."""
        self._receiver = self._upgraded = None
        self._stop_timer()

    def resync(self):
        """The handler that talked to the next hop was cut off: get back into step, or close where that cannot be."""
        self.stop_receiving()
        if self._why_closed is None and self._client.in_message:
            self.spoil("the policy failed in the middle of a message")
        elif self._why_closed is None:
            self._client.resync()
            self._patience = []                 # of replies that nobody gets to see
            if self._client.failed is not None:
                self._shut(self._client.failed)

    def data_received(self, data):
        """asyncio: octets from the next hop."""
        if self._debug:
            for line in data.split(b"\n"):
                if line:
                    self._log.write(logs.INFO, self._session_id, b"next hop > " + line.rstrip(b"\r"))
        if self.on_idle_end is not None:
            self.on_idle_end()          # nobody asked it anything, so that nothing it says can be right
            return
        self._client.feed(data)
        output = self._client.take_output()
        if output:
            self._write(output)
        if self._by_chunks and self._chunks is not None and self._writable:
            self._go_on()
        self._deliver()
        if self._client.failed is not None and (self._receiver is not None or self._sender is not None):
            self._fail_protocol()

    def eof_received(self):
        """asyncio: the next hop sends no more; the connection is closed."""
        return False

    def _take(self):
        """The next reply from the core, or None."""
        reply = self._client.next_reply()
        if reply is not None:
            if self._patience:
                del self._patience[0]
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
        if failed.startswith("protocol error"):
            self._report(ServiceProtocolError(f"Protocol error: {self.name}: {failed}"))
        else:
            self._report(ServiceUnavailable(f"Input/output error: {self.name}: {failed}"))

    # TLS.

    def start_tls(self, tls, done):
        """STARTTLS and the handshake (tls: a ClientTls). done(reply, error) is called later: with the reply 220 when
        TLS is there, with another one when it was refused, with an error when the connection is lost by it."""
        self._need_open()
        try:
            data = self._client.starttls()
        except ClientError as error:
            raise NotNow(f"STARTTLS: {error}") from None
        self.touched = True
        self._patience.append("hello")
        self._write(data)
        self._upgraded = done
        self._receiver = partial(self._starttls_answered, tls)
        self._start_timer("hello")

    def _starttls_answered(self, tls, reply, error):
        if error is None and self._client.state == NH_TLS:
            # At once: whatever the next hop sends from now on is TLS, or nothing.
            self._transport = upgrade(self.loop, self._transport, self, tls, partial(self._shaken, reply),
                                      seconds=self.timeouts.tls_handshake, host=self.host)
            return
        done, self._upgraded = self._upgraded, None
        if error is None and self._client.failed is not None and reply.code < 400:
            failed, reply = self._client.failed, None
            self._shut(failed)
            error = ServiceProtocolError(f"Protocol error: {self.name}: {failed}")
        if done is not None:
            done(reply, error)

    def _shaken(self, reply, error):
        done, self._upgraded = self._upgraded, None
        if error is not None:
            metrics.count(_HANDSHAKES["failed"])
            self._shut(f"the TLS handshake failed: {error}")
            error, reply = ServiceUnavailable(f"TLS handshake with {self.name} failed: {error}"), None
        elif self._why_closed is None:
            self.tls = self._transport.facts
            metrics.count(_HANDSHAKES["resumed" if self.tls["resumed"] else "full"])
            self._client.tls_started()
        if done is not None:
            done(reply, error)

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
        self._ahead = b""
        self._by_chunks = False
        if self._pump():
            return True
        self._sender = done
        return False

    def send_chunks(self, chunks, done):
        """Write a whole message, as it is, by BDAT (RFC 3030), without DATA before it. Otherwise as send_message(). A
        refusal of a part ends it like the last chunk: what is left is not sent, and the refusal is the next reply."""
        self._need_open()
        if not self._client.may_chunk:
            try:
                self._client.chunk(0, False)
            except ClientError as error:
                raise NotNow(f"BDAT: {error}") from None
        self.touched = True
        self._chunks = _gathered(chunks)
        self._by_chunks = True
        if self._pump_chunks():
            return True
        self._sender = done
        return False

    def _pump(self):
        try:
            for chunk in self._chunks:
                if self._ahead:
                    ahead, self._ahead = self._ahead, b""
                    self._write(ahead)
                if len(chunk) <= WITH_THE_DOT:
                    self._ahead = chunk
                else:
                    self._write(chunk)
                if not self._writable:
                    self._start_timer("data_block")
                    return False
        except OSError as error:                # the spool cannot be read: nothing may follow what was sent
            self._chunks = None
            self.spoil(f"the message could not be read: {error.strerror}")
            raise ServiceUnavailable(f"Input/output error: the message could not be read: {error.strerror}") from error
        self._chunks = None
        last, self._ahead = self._ahead, b""
        try:
            # In one write: the next hop need not wake up twice for the end.
            self._write(last + self._client.end_message())
            self.beyond_recall = True
        except ClientError as error:            # it said something out of turn while the message was on its way
            self.spoil(str(error))
            raise ServiceUnavailable(f"Input/output error: {self.name}: {error}") from None
        self._patience.extend(["data_end"] * max(self._client.recipients if self.lmtp else 1, 1))
        return True

    def _pump_chunks(self):
        client = self._client
        while True:
            if client.state not in (NH_RCPT, NH_CHUNKS):
                self._chunks = None
                if client.failed is None:
                    return True                 # a chunk was refused; its reply waits to be read
                raise ServiceUnavailable(f"Input/output error: {self.name}: {client.failed}")
            if not client.may_chunk or not self._writable:
                self._start_timer("data_block")
                return False
            try:
                pieces, size, last = next(self._chunks)
            except OSError as error:            # nothing is half sent: the next hop forgets it with RSET
                self._chunks = None
                client.resync()
                raise ServiceUnavailable(
                    f"Input/output error: the message could not be read: {error.strerror}") from error
            self._write(client.chunk(size, last))
            for piece in pieces:
                self._write(piece)
            if last:
                self._chunks = None
                self.beyond_recall = True
                self._patience.extend(["data_end"] * max(client.recipients if self.lmtp else 1, 1))
                return True

    def pause_writing(self):
        """asyncio: the write buffer is full."""
        self._writable = False

    def resume_writing(self):
        """asyncio: there is room in the write buffer again."""
        self._writable = True
        if self._chunks is not None and self._transport is not None:
            self._go_on()

    def _go_on(self):
        """Write more of the message."""
        self._stop_timer()
        try:
            finished = self._pump_chunks() if self._by_chunks else self._pump()
        except ServiceUnavailable as error:
            done, self._sender = self._sender, None
            if done is not None:                # spool errors of DATA were told by spoil()
                done(error)
            return
        if finished:
            done, self._sender = self._sender, None
            if done is not None:
                done(None)

    # Below.

    def _need_open(self):
        if self._transport is None:
            raise ServiceUnavailable("Transport endpoint is not connected: "
                                     f"{self.name}: {self._why_closed or 'it was never opened'}")

    def _write(self, data, shown=None):
        if self._debug:
            for line in (shown or data).split(b"\r\n", 8)[:8]:
                if line[:5].upper() == b"AUTH ":        # nothing secret behind the mechanism
                    line = b" ".join(line.split(b" ", 2)[:2])
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
        self._late = name
        self._late_s = getattr(self.timeouts, name)
        if self._alarm is None:
            self._alarm = Alarm(self.loop, self._expired)
        self._alarm.set(self._late_s)

    def _stop_timer(self):
        if self._alarm is not None:
            self._alarm.clear()

    def _end_timer(self):
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _expired(self):
        name, seconds = self._late, self._late_s
        if self._opened is not None:
            self._not_opened(seconds)
            return
        metrics.count(_LATE[name])
        self._shut(f"no answer within {seconds:g} s ({name})")
        self._report(ServiceTimeout(f"Connection timed out: {self.name}: no answer within {seconds:g} s ({name})"))


def _gathered(chunks):
    """Pieces of CHUNK_BYTES or a little more, as (list of bytes, octets, whether it is the last)."""
    pieces, size = [], 0
    for chunk in chunks:
        if size >= CHUNK_BYTES:
            yield pieces, size, False
            pieces, size = [], 0
        pieces.append(chunk)
        size += len(chunk)
    yield pieces, size, True
