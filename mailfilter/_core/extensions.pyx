# cython: nonecheck=True
"""Which service extensions (RFC 5321 §2.2) a client is told of: what we can do and what the policy wants to say.

What the policy wants to say is the lines of its reply to EHLO, often those of a next hop.

    PIPELINING SIZE CHUNKING LIMITS     ours, whatever is said: they concern this connection alone, and a message is
                                        converted for a next hop that cannot do them. A line "-KEYWORD" withholds one.
    STARTTLS XCLIENT XFORWARD           ours, where the shell has offered them
    8BITMIME ENHANCEDSTATUSCODES SMTPUTF8 DSN BINARYMIME PRDR   where the policy says them: they promise something that
                                        the next hop has to keep
    REQUIRETLS                          the same, under TLS only (RFC 8689 §2)
    AUTH                                the same, where the shell has offered it; under TLS, unless allowed without

SIZE is the smaller of the policy's and ours, 0 being none (RFC 1870 §4). So are the numbers of LIMITS (RFC 9422). All
other keywords are left out: nobody here could keep what they promise.

Must not know: replies, states, policies.
"""
cimport cython

from mailfilter._core.limits cimport Limits

cdef extern from *:
    const char* MAILFILTER_ABI_STAMP

_abi_stamp = (<bytes> MAILFILTER_ABI_STAMP).decode("ascii")

# What may be said only because the policy says it.
cdef frozenset SAID = frozenset((b"8BITMIME", b"ENHANCEDSTATUSCODES", b"SMTPUTF8", b"DSN", b"BINARYMIME", b"PRDR",
                                 b"REQUIRETLS", b"AUTH"))
cdef frozenset NOTHING = frozenset()
# Never changed: they are those of many sessions.
cdef set NONE_ANNOUNCED = set()
cdef dict KEPT = {}
cdef Py_ssize_t KEPT_LIMIT = 64
cdef tuple LIMIT_NAMES = (b"MAILMAX", b"RCPTMAX", b"RCPTDOMAINMAX")

XCLIENT_ATTRIBUTES = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT")
XFORWARD_ATTRIBUTES = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")

# What a shell may offer, and the line that announces it; AUTH's comes from the policy.
OFFERS = {
    b"STARTTLS": b"STARTTLS",
    b"AUTH": b"",
    b"XCLIENT": b" ".join((b"XCLIENT", *XCLIENT_ATTRIBUTES)),
    b"XFORWARD": b" ".join((b"XFORWARD", *XFORWARD_ATTRIBUTES)),
}


@cython.final
cdef class Extensions:
    """What was announced. announced: the keywords, not to be changed. mechanisms: those of AUTH, in capitals. size_limit: the largest
    message that is taken, 0 for any."""

    def __init__(self):
        raise TypeError("extensions are made for a Session")


cdef Extensions extensions_none(Limits limits):
    """Before EHLO, and after HELO."""
    cdef Extensions found = Extensions.__new__(Extensions)
    found.announced = NONE_ANNOUNCED
    found.mechanisms = NOTHING
    found.size_limit = limits.message_bytes
    return found


cdef Extensions extensions_of(list lines, list told, Limits limits, frozenset offered, bint tls, bint clear_auth):
    """The extensions out of the lines that a policy wants to say, the greeting in front; what is really to be said is
    added to `told`. TypeError: a line is no bytes.

    offered: keys of OFFERS. tls: whether TLS is active. clear_auth: whether AUTH may be used without.
    """
    cdef Extensions found = extensions_none(limits)
    cdef set announced = set()
    cdef set withheld = set()
    cdef dict numbers = {b"RCPTMAX": limits.recipients}
    cdef Py_ssize_t i, size_at = -1
    cdef bytes line, word
    for i in range(1, len(lines)):
        if type(lines[i]) is not bytes:
            raise TypeError(f"a line of a reply is bytes, not {type(lines[i]).__name__}")
        words = (<bytes> lines[i]).upper().split()
        if not words or words[0] in announced:
            continue
        word = words[0]
        if word[:1] == b"-":
            withheld.add(word[1:])
        elif word == b"SIZE":
            announced.add(word)
            size_at = len(told)
            told.append(word)
            if len(words) > 1 and words[1].isdigit():
                theirs = min(int(words[1]), 1 << 62)
                if theirs and (found.size_limit == 0 or theirs < found.size_limit):
                    found.size_limit = theirs
        elif word == b"PIPELINING":
            announced.add(word)
            told.append(word)
        elif word == b"LIMITS":
            _smaller(numbers, words[1:])
        elif word in SAID:
            if word == b"REQUIRETLS" and not tls:
                continue
            if word == b"AUTH":
                if b"AUTH" not in offered or not (tls or clear_auth) or len(words) == 1:
                    continue
                found.mechanisms = frozenset(words[1:])
            announced.add(word)
            told.append(b" ".join(words) if word == b"AUTH" else word)
    for word in (b"PIPELINING", b"SIZE", b"CHUNKING"):
        if word not in announced and word not in withheld:
            announced.add(word)
            if word == b"SIZE":
                size_at = len(told)
            told.append(word)
    if size_at >= 0 and found.size_limit:
        told[size_at] = b"SIZE %d" % found.size_limit
    if b"SMTPUTF8" in announced and b"8BITMIME" not in announced:
        # RFC 6531 §3.1 (8): one comes with the other.
        announced.add(b"8BITMIME")
        told.append(b"8BITMIME")
    if b"BINARYMIME" in announced and b"CHUNKING" not in announced:
        # RFC 3030 §3: there is no other way for it to come.
        announced.remove(b"BINARYMIME")
        told.remove(b"BINARYMIME")
    for word in (b"STARTTLS", b"XCLIENT", b"XFORWARD"):
        if word in offered and word not in withheld and not (tls and word == b"STARTTLS"):
            announced.add(word)
            told.append(<bytes> OFFERS[word])
    if b"LIMITS" not in withheld:
        announced.add(b"LIMITS")
        told.append(b" ".join([b"LIMITS"] + [b"%b=%d" % (name, numbers[name]) for name in LIMIT_NAMES if name in numbers]))
    found.announced = _kept(announced)
    return found


cdef set _kept(set announced):
    """The one set for all sessions to which the same was announced: their own would be a kilobyte each."""
    cdef frozenset key = frozenset(announced)
    known = KEPT.get(key)
    if known is None:
        if len(KEPT) >= KEPT_LIMIT:
            return announced
        KEPT[key] = known = announced
    return known


cdef int _smaller(dict numbers, list words) except -1:
    """Take over the limits of a next hop that are smaller than ours, or that we do not have."""
    for word in words:
        name, _, digits = (<bytes> word).partition(b"=")
        if name in LIMIT_NAMES and digits.isdigit() and len(digits) <= 6 and int(digits) > 0:
            numbers[name] = min(int(digits), numbers.get(name, 1 << 20))
    return 0
