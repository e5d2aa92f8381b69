"""The domain of a message's author, out of its From field (RFC 5322 §3.6.2), or why nobody can say which it is.

What receivers, filters and mail readers make of an odd From differs, and forgers live on the difference. So this reads
what RFC 5322 allows today for one mailbox, and of the obsolete forms none: two fields, two mailboxes, groups, routes, comments
or spaces inside the address are refused, never guessed at.

Must not know: the DNS, DMARC, policies.
"""
import re

from mailfilter.errors import MailfilterError

__all__ = ["AUTHOR_OCTETS", "FromRefused", "author_domain"]

AUTHOR_OCTETS = 8192
"""The longest From field that is looked at."""

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_INVISIBLE = bytes(octet for octet in range(256) if not 0x21 <= octet <= 0x7e)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TOKENS = re.compile(rb"""
    (?P<space>[ \t]+) |
    (?P<quoted>"(?:[^"\\]|\\.)*") |
    (?P<literal>\[[^][\\]*\]) |
    (?P<atom>[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]+) |
    (?P<special>[<>@,:;])
""", re.VERBOSE)


class FromRefused(MailfilterError):
    """A message whose author cannot be told without guessing."""


def author_domain(lines, smtputf8=False):
    """The domain in the one From field among header lines, as written: text, maybe with letters that are not ASCII.

    lines: whole fields as bytes, un-stuffed. smtputf8: whether the address may have letters that are not ASCII (RFC 6532).
    Raises FromRefused.
    """
    values = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or name.translate(None, _INVISIBLE).lower() != b"from":
            continue
        if name.rstrip(b" \t").lower() != b"from":
            raise FromRefused("there is a field that some take for From and some do not")
        values.append(value)
    if len(values) != 1:
        raise FromRefused(f"there are {len(values)} From fields" if values else "there is no From field")
    if len(values[0]) > AUTHOR_OCTETS:
        raise FromRefused(f"From has more than {AUTHOR_OCTETS} octets")
    value = _FOLD.sub(b"", values[0])
    if value.endswith(b"\r\n"):
        value = value[:-2]
    if _CONTROL.search(value):
        raise FromRefused("From has control characters")
    return _domain_of(_trimmed(_tokens(value)), smtputf8)


def _tokens(value):
    """[(kind, octets), …]: spaces and comments too."""
    found, at = [], 0
    while at < len(value):
        if value[at] == 0x28:
            end = _end_of_comment(value, at)
            found.append(("comment", value[at:end]))
            at = end
            continue
        token = _TOKENS.match(value, at)
        if token is None:
            raise FromRefused(f"From has a {chr(value[at])} that belongs to nothing")
        found.append((token.lastgroup, token[0]))
        at = token.end()
    return found


def _end_of_comment(value, at):
    depth = 0
    while at < len(value):
        octet = value[at]
        if octet == 0x5c:
            at += 1
        elif octet == 0x28:
            depth += 1
        elif octet == 0x29:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    raise FromRefused("From has a comment without an end")


def _trimmed(tokens):
    """Without the spaces and comments at both ends."""
    first, last = 0, len(tokens)
    while first < last and tokens[first][0] in ("space", "comment"):
        first += 1
    while last > first and tokens[last - 1][0] in ("space", "comment"):
        last -= 1
    return tokens[first:last]


def _domain_of(tokens, smtputf8):
    specials = [text for kind, text in tokens if kind == "special"]
    if b"," in specials:
        raise FromRefused("From has more than one mailbox")
    if b":" in specials or b";" in specials:
        raise FromRefused("From has a group or a route")
    if b"<" in specials or b">" in specials:
        if specials != [b"<", b"@", b">"] or tokens[-1] != ("special", b">"):
            raise FromRefused("From is not one mailbox")
        opened = tokens.index(("special", b"<"))
        if any(kind == "literal" for kind, _ in tokens[:opened]):
            raise FromRefused("From has brackets in the name")
        tokens = tokens[opened + 1:-1]
        while tokens and tokens[0][0] == "space":
            tokens = tokens[1:]
        while tokens and tokens[-1][0] == "space":
            tokens = tokens[:-1]
    if [kind for kind, _ in tokens] not in (["atom", "special", "atom"], ["quoted", "special", "atom"]):
        raise FromRefused("From has no address of the form local@domain")
    local, domain = tokens[0][1], tokens[2][1]
    if b"=?" in local or b"=?" in domain:
        # RFC 2047 §5 (3): never inside an address. Some readers decode it nevertheless, and show another one.
        raise FromRefused("From has an encoded word in the address")
    if not smtputf8 and not (local.isascii() and domain.isascii()):
        raise FromRefused("From has an address that is not ASCII, without SMTPUTF8")
    try:
        local.decode("utf-8")
        domain = domain.decode("utf-8")
    except UnicodeDecodeError:
        raise FromRefused("From has an address that is not UTF-8") from None
    if "" in domain.split("."):
        raise FromRefused("From has a domain with an empty label")
    return domain
