"""TLS over a connection that is open already: what the ssl module computes, between a transport and a protocol.

Towards the network a `TlsStream` is an asyncio protocol, towards whoever speaks SMTP it is the transport: write,
close, abort, pause and resume mean what they mean on TCP. uvloop's own start_tls was measured against this
(bench/tls.py): it costs the same CPU for a handshake and for an octet, four times the memory for a connection that is
held (45 KiB against 11), and leaves to chance what happens at the seam and to half-closed connections.

Must not know: SMTP, certificates, files.
"""
import asyncio
import ssl

from mailfilter.net.tls import TlsError, reason_of
from mailfilter.services.last_words import last_words

__all__ = ["TlsStream", "upgrade"]

# What is decrypted at once: one record at most (RFC 8446 §5.1).
_RECORD_BYTES = 16384

# A peer whose handshake failed may take so long to fetch the alert, in seconds; then the connection is cut.
_ALERT_S = 5.0


def upgrade(loop, transport, protocol, tls, done, *, seconds, host=None):
    """Speak TLS on `transport`, which is open and whose protocol so far is `protocol`.

    Everything that came before must have been dealt with or thrown away by the caller: what reaches the transport
    from now on is TLS. `protocol` gets nothing (but connection_lost, once, at the end) until done() was called;
    then data_received and the rest, with what is decrypted.

    Args:
        tls: a `ServerTls` or a `ClientTls` (net/tls.py).
        done: called as done(None) after the handshake, or as done(TlsError) when it failed; the connection closes by
            itself then. Never called from inside upgrade(), and not after connection_lost or abort().
        seconds: how long the handshake may take.
        host: for a client, the name it connected to.

    Returns:
        The `TlsStream`: the transport to be used from now on. `facts` has, after the handshake, a dict of version,
        cipher, bits, sni, subject, fingerprint, verified, resumed.
    """
    stream = TlsStream(loop, protocol, tls, done, seconds, host)
    transport.set_protocol(stream)
    stream.connection_made(transport)
    return stream


class TlsStream(asyncio.Protocol):
    """A connection with TLS on it; see `upgrade`."""

    __slots__ = ("facts", "_loop", "_protocol", "_tls", "_done", "_seconds", "_host", "_transport", "_incoming",
                 "_outgoing", "_object", "_timer", "_shaken", "_established", "_writable", "_paused", "_cut", "_eof",
                 "_closing", "_failure", "_again")

    def __init__(self, loop, protocol, tls, done, seconds, host=None):
        self.facts = None
        self._loop = loop
        self._protocol = protocol
        self._tls = tls
        self._done = done
        self._seconds = seconds
        self._host = host
        self._transport = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = None
        self._timer = None
        self._shaken = False            # the handshake is done
        self._established = False       # and the protocol knows it
        self._writable = True
        self._paused = False
        self._cut = False               # TCP has ended on the peer's side
        self._eof = False               # the peer sends no more, and the protocol knows it
        self._closing = False
        self._failure = None            # why the handshake failed, once it has
        self._again = None              # a pending call of _begin, _read or _report

    # asyncio's calls, from the transport below.

    def connection_made(self, transport):
        """The connection below is there: begin the handshake."""
        self._transport = transport
        self._timer = self._loop.call_later(self._seconds, self._expired)
        try:
            self._object = self._tls.wrap(self._incoming, self._outgoing, self._host)
        except Exception as error:
            self._again = self._loop.call_soon(self._fail, error)
            return
        if not transport.is_closing():
            transport.resume_reading()
        if not self._tls.server_side:
            self._handshake()

    def data_received(self, data):
        """Octets of TLS."""
        if self._closing or self._object is None:
            return
        self._incoming.write(data)
        if self._established:
            self._read()
        elif not self._shaken:
            self._handshake()

    def eof_received(self):
        """The peer has closed its side of TCP, without a word of TLS. For SMTP, whose ends are explicit, it is an end
        like any other: nothing that was cut off can be taken for whole."""
        if self._closing:
            return False
        if not self._shaken:
            self._fail(TlsError("the peer closed the connection during the handshake", "closed"))
            return False
        self._cut = True
        if self._established:
            self._read()
        return not self._closing

    def connection_lost(self, error):
        """The connection below is gone."""
        if error is not None and self._established and self._transport is not None:
            words = last_words(self._transport)
            if words:
                self.data_received(words)
        done = self._done
        self._end()
        self._object, self._done = None, done
        self._failure = self._failure or TlsError("the connection was lost during the handshake", "closed")
        self._report()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    def pause_writing(self):
        """The peer does not fetch."""
        self._writable = False
        if self._established and self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self):
        """The peer has fetched."""
        self._writable = True
        if self._established and self._protocol is not None:
            self._protocol.resume_writing()

    # The handshake.

    def _handshake(self):
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except Exception as error:
            self._fail(error)
            return
        self._flush()
        try:
            self.facts = self._tls.established(self._object, self._host)
        except TlsError as error:
            self._fail(error)
            return
        self._stop_timer()
        self._shaken = True
        # From a callback of its own: what done() does must not happen in the middle of upgrade().
        self._again = self._loop.call_soon(self._begin)

    def _begin(self):
        self._again = None
        self._established = True
        done, self._done = self._done, None
        done(None)
        if not self._writable and not self._closing:
            self._protocol.pause_writing()
        self._read()                    # what came together with the last of the handshake

    def _expired(self):
        self._timer = None
        if self._closing:
            self._transport.abort()
            return
        self._fail(TlsError(f"the handshake took longer than {self._seconds:g} s", "timeout"))

    def _fail(self, error):
        """The handshake has failed: let the peer know why, and close."""
        if self._closing:
            return
        if not isinstance(error, TlsError):
            reason = reason_of(error)
            error = TlsError(reason, reason)
        self._stop_timer()
        self._closing = True
        self._flush()
        self._transport.close()
        self._timer = self._loop.call_later(_ALERT_S, self._expired)
        self._failure = error
        self._again = self._loop.call_soon(self._report)

    def _report(self):
        """Tell, once, that the handshake has failed."""
        self._again = None
        done, self._done = self._done, None
        if done is not None:
            done(self._failure)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Octets.

    def _flush(self):
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _read(self):
        """Give the protocol what can be decrypted."""
        self._again = None
        while not (self._paused or self._closing or self._eof):
            try:
                data = self._object.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                if not self._cut:
                    break
                # OpenSSL is not told: it would refuse to write any more.
                data = b""
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError:
                # Nonsense or forged: nothing after it can be trusted.
                self._flush()
                self.abort()
                return
            if not data:
                self._eof = True
                if not self._protocol.eof_received():
                    self.close()
                return
            self._protocol.data_received(data)
        if self._outgoing.pending and not self._closing:
            self._flush()               # an answer of TLS itself: new keys

    # What a transport has.

    def write(self, data):
        """Encrypt and send."""
        if self._closing or not data:
            return
        try:
            self._object.write(data)
        except ssl.SSLError:
            self.abort()
            return
        self._transport.write(self._outgoing.read())

    def close(self):
        """Send what was written, say goodbye in TLS, and close. Nothing more is received."""
        if self._closing:
            return
        self._end()
        if self._shaken and self._object is not None:
            try:
                self._object.unwrap()
            except ssl.SSLError:
                pass                    # the peer's goodbye has not come, and is not waited for
            self._flush()
        self._transport.close()

    def _end(self):
        """From now on nobody is told anything but connection_lost."""
        self._closing = True
        self._done = None
        self._stop_timer()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def abort(self):
        """Close at once."""
        self._end()
        self._transport.abort()

    def is_closing(self):
        """Whether it is closed or closing."""
        return self._closing or self._transport.is_closing()

    def pause_reading(self):
        """Receive nothing for now; what has come but is not decrypted waits."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self):
        """Receive again."""
        if self._paused:
            self._paused = False
            if self._closing:
                return
            self._transport.resume_reading()
            if self._established and self._again is None:
                self._again = self._loop.call_soon(self._read)

    def set_protocol(self, protocol):
        """Give what is decrypted from now on to `protocol`."""
        self._protocol = protocol

    def get_protocol(self):
        """Who gets what is decrypted."""
        return self._protocol

    def get_extra_info(self, name, default=None):
        """What the transport below knows; `ssl_object` is the connection's."""
        if name == "ssl_object":
            return self._object
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self):
        """Octets that wait to be sent, encrypted."""
        return self._transport.get_write_buffer_size()
