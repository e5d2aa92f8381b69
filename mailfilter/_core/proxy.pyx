# cython: nonecheck=True
"""The PROXY protocol, versions 1 and 2, as a server reads it: what a load balancer puts in front of a connection to say
for whom it was made (haproxy.org, proxy-protocol.txt).

Octets in, one header out, and what came behind it untouched. The format knows no errors between the two sides: a header
that is not well formed means that whoever sent it is no proxy of ours, and the reader says why and reads no further.
Nothing is taken for a header that a client could have meant as SMTP, TLS or HTTP.

Must not know: who may send a header, what the addresses are used for.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: INET6_ADDRSTRLEN
    int inet_pton(int family, const char* text, void* octets)
    const char* inet_ntop(int family, const void* octets, char* text, unsigned int length)

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# Version 1 with its CR LF, at most.
cdef Py_ssize_t V1_BYTES = 107
V1_SIGNATURE = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# The 12 octets of the signature, version and command, family, length.
cdef Py_ssize_t V2_FIXED = 16

# What we read of the type-length-value triples (proxy-protocol.txt §2.2).
cdef enum:
    PP2_AUTHORITY = 0x02
    PP2_CRC32C = 0x03
    PP2_UNIQUE_ID = 0x05
    PP2_SSL = 0x20
    PP2_SSL_VERSION = 0x21
    PP2_SSL_CN = 0x22
    PP2_SSL_CIPHER = 0x23
    CLIENT_SSL = 0x01
    CLIENT_CERT = 0x06      # on this connection, or in the session that it resumes

cdef unsigned int[256] _crc_table


cdef void _fill_table() noexcept:
    cdef unsigned int i, bit, value
    for i in range(256):
        value = i
        for bit in range(8):
            value = (value >> 1) ^ (0x82F63B78U if value & 1 else 0U)
        _crc_table[i] = value

_fill_table()


cdef unsigned int _crc32c(const unsigned char* octets, Py_ssize_t length, Py_ssize_t hole) noexcept:
    """CRC32c of the octets (RFC 4960 appendix B), the four at `hole` being taken for zero."""
    cdef unsigned int crc = 0xFFFFFFFFU
    cdef unsigned char octet
    cdef Py_ssize_t i
    for i in range(length):
        octet = 0 if hole <= i < hole + 4 else octets[i]
        crc = (crc >> 8) ^ _crc_table[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFFU


cdef class _Wrong(Exception):
    """What is wrong with a header."""


cdef str _address(int family, const unsigned char* octets):
    """The address as text; IPv4 inside IPv6 (RFC 4291 §2.5.5.2) as the IPv4 that it is."""
    cdef char[64] text
    if family == AF_INET6 and octets[:12] == b"\0\0\0\0\0\0\0\0\0\0\xff\xff":
        octets += 12
        family = AF_INET
    if inet_ntop(family, octets, text, sizeof(text)) == NULL:
        raise _Wrong("an address cannot be read")
    return (<bytes> text).decode("ascii")


@cython.final
cdef class ProxyHeader:
    """What a header says.

    Attributes:
        version: 1 or 2.
        source, destination: (address, port) of the client and of what it connected to; None where the header names none:
            then the connection's own ends count (version 1 UNKNOWN, version 2 LOCAL and UNSPEC). ("local", 0) for a UNIX
            socket.
        local: whether the proxy speaks for itself, as in a health check (version 2 LOCAL).
        authority: the host name that the client asked for (SNI), str or None.
        tls: None, or a dict of what the client's TLS connection to the proxy was: version, cipher, subject (its
            certificate's common name), each str or None, and verified (bool).
        unique_id: bytes or None.
    """

    cdef readonly int version
    cdef readonly bint local
    cdef readonly tuple source, destination
    cdef readonly str authority
    cdef readonly dict tls
    cdef readonly bytes unique_id

    def __repr__(self):
        return (f"<ProxyHeader v{self.version} source={self.source} destination={self.destination} "
                f"authority={self.authority} tls={self.tls}>")


cdef tuple _v1_end(int family, bytes address, bytes port):
    cdef unsigned char[16] octets
    if b"\0" in address or inet_pton(family, address, octets) != 1:
        raise _Wrong("an address is not one of its family")
    if not (1 <= len(port) <= 5 and port.isdigit() and (port == b"0" or port[:1] != b"0") and int(port) < 65536):
        raise _Wrong("a port is not a number up to 65535")
    return _address(family, octets), int(port)


cdef ProxyHeader _read_v1(bytes line):
    """A line without its CR LF."""
    cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
    cdef list words = line.split(b" ")
    header.version = 1
    if words[1] == b"UNKNOWN":
        return header               # whatever follows is to be ignored
    if words[1] not in (b"TCP4", b"TCP6"):
        raise _Wrong("the family is none of TCP4, TCP6, UNKNOWN")
    if len(words) != 6:
        raise _Wrong("two addresses and two ports are expected")
    family = AF_INET if words[1] == b"TCP4" else AF_INET6
    header.source = _v1_end(family, words[2], words[4])
    header.destination = _v1_end(family, words[3], words[5])
    return header


cdef str _text(bytes value):
    """Text of a proxy, for policies and logs: never a control character."""
    return "".join([c if c.isprintable() else "?" for c in value.decode("utf-8", "replace")])


cdef list _triples(bytes data, Py_ssize_t at, Py_ssize_t end):
    """[(type, offset, value)] of the type-length-value triples in data[at:end]."""
    cdef list found = []
    cdef const unsigned char* octets = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef Py_ssize_t length
    while at < end:
        if end - at < 3:
            raise _Wrong("a type-length-value triple is cut off")
        length = octets[at + 1] << 8 | octets[at + 2]
        if end - at - 3 < length:
            raise _Wrong("a type-length-value triple is longer than the header")
        found.append((octets[at], at + 3, data[at + 3:at + 3 + length]))
        at += 3 + length
    return found


cdef dict _tls(bytes data, Py_ssize_t at, bytes value):
    cdef dict facts = {"version": None, "cipher": None, "subject": None, "verified": False}
    if len(value) < 5:
        raise _Wrong("what it says about TLS is cut off")
    flags = value[0]
    for kind, _offset, text in _triples(data, at + 5, at + len(value)):
        if kind == PP2_SSL_VERSION:
            facts["version"] = _text(text)
        elif kind == PP2_SSL_CIPHER:
            facts["cipher"] = _text(text)
        elif kind == PP2_SSL_CN:
            facts["subject"] = _text(text)
    facts["verified"] = bool(flags & CLIENT_CERT) and value[1:5] == b"\0\0\0\0"
    return facts if flags & CLIENT_SSL else None


cdef int _read_triples(ProxyHeader header, bytes data, Py_ssize_t at) except -1:
    cdef set seen = set()
    for kind, offset, value in _triples(data, at, len(data)):
        if kind in (PP2_AUTHORITY, PP2_CRC32C, PP2_UNIQUE_ID, PP2_SSL):
            if kind in seen:
                raise _Wrong("a type-length-value triple occurs twice")
            seen.add(kind)
        if kind == PP2_CRC32C:
            if len(value) != 4:
                raise _Wrong("the checksum is not four octets long")
            if _crc32c(<const unsigned char*> PyBytes_AS_STRING(data), len(data), offset) != int.from_bytes(value, "big"):
                raise _Wrong("the checksum is wrong")
        elif kind == PP2_AUTHORITY:
            header.authority = _text(value)
        elif kind == PP2_UNIQUE_ID:
            if len(value) > 128:
                raise _Wrong("the unique id is longer than 128 octets")
            header.unique_id = value
        elif kind == PP2_SSL:
            header.tls = _tls(data, offset, value)
    return 0


cdef ProxyHeader _read_v2(bytes data):
    """A whole header, from its signature to its last triple."""
    cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
    cdef const unsigned char* octets = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef const unsigned char* ends = octets + V2_FIXED
    cdef Py_ssize_t length = len(data) - V2_FIXED, taken
    cdef int command = octets[12] & 0xF, family = octets[13]
    header.version = 2
    if command == 0:
        header.local = True             # addresses and triples, if there are any, are to be ignored
        return header
    if command != 1:
        raise _Wrong("the command is neither LOCAL nor PROXY")
    if family == 0x00:
        return header
    taken = {0x11: 12, 0x21: 36, 0x31: 216}.get(family, -1)
    if taken < 0:
        raise _Wrong("the family is none of TCP over IPv4 or IPv6, and UNIX stream")
    if length < taken:
        raise _Wrong("the addresses are cut off")
    if family == 0x11:
        header.source = _address(AF_INET, ends), ends[8] << 8 | ends[9]
        header.destination = _address(AF_INET, ends + 4), ends[10] << 8 | ends[11]
    elif family == 0x21:
        header.source = _address(AF_INET6, ends), ends[32] << 8 | ends[33]
        header.destination = _address(AF_INET6, ends + 16), ends[34] << 8 | ends[35]
    else:
        header.source = header.destination = ("local", 0)
    _read_triples(header, data, V2_FIXED + taken)
    return header


@cython.final
cdef class ProxyReader:
    """Reads one header.

    Attributes:
        too_long: whether it was a header, but one over the limit.
        error: why there is no header, in few words; None as long as there may be one. Final.
        rest: what came behind the header, once it is there.
    """

    cdef bytes _held
    cdef Py_ssize_t _most
    cdef bint _over
    cdef readonly bint too_long
    cdef readonly str error
    cdef readonly bytes rest

    def __init__(self, Py_ssize_t most=4096):
        """most: octets that a header of version 2 may have in all. Version 1 has its own limit, 107."""
        self._held = b""
        self._most = most
        self.rest = b""

    @property
    def buffered(self):
        """Octets that wait for the rest of the header."""
        return PyBytes_GET_SIZE(self._held)

    def feed(self, bytes data not None):
        """Octets of the connection, up to and with the header; the ProxyHeader when it is complete, else None.

        Once it has been given, or `error` is set, nothing is to be fed any more: RuntimeError.
        """
        if self._over:
            raise RuntimeError("the header has been read")
        self._held += data
        try:
            header = self._look()
        except _Wrong as wrong:
            self._over = True
            self._held = b""
            self.error = str(wrong)
            return None
        if header is not None:
            self._over = True
            self._held = b""
        return header

    cdef ProxyHeader _look(self):
        cdef bytes held = self._held
        cdef Py_ssize_t end, length = PyBytes_GET_SIZE(held)
        if held[:12] == V2_SIGNATURE[:length]:
            if length >= 13 and held[12] >> 4 != 2:
                raise _Wrong("the version is not 2")
            if length < V2_FIXED:
                return None
            end = V2_FIXED + (held[14] << 8 | held[15])
            if end > self._most:
                self.too_long = True
                raise _Wrong("the header is too long")
            if length < end:
                return None
            self.rest = held[end:]
            return _read_v2(held[:end])
        if held[:6] != V1_SIGNATURE[:length]:
            raise _Wrong("what came is no PROXY header")
        end = held.find(b"\r\n", 0, V1_BYTES)
        if end >= 0:
            self.rest = held[end + 2:]
            return _read_v1(held[:end])
        if length >= V1_BYTES:
            raise _Wrong("the line is longer than 107 octets")
        return None
