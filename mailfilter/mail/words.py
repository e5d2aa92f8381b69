"""Encoded words in header fields (RFC 2047), as text, and parameters in pieces or other character sets (RFC 2231).

Anybody may have written them: what follows no grammar stays as it is, and the time is linear in the length of the text.

Must not know: which field a text is from, policies.
"""
import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from mailfilter.mail.charsets import text_of

__all__ = ["decoded", "fields_value", "parameters_of"]

VALUE_OCTETS = 65536
"""The longest value whose encoded words or parameters are looked at; what is behind stays as it is."""

PARAMETERS = 100
"""Parameters of one field that are looked at, pieces among them."""

# RFC 2047 §2, in the spelling that the world uses: RFC 2231 §5 adds the language, and blanks occur inside the text.
_WORD = re.compile(r"=\?([^?\s*]{1,64})(?:\*[^?\s]{0,64})?\?([BbQq])\?([^?]*)\?=")
_BETWEEN = re.compile(r"\s*\Z")
_PARAMETER = re.compile(r"""\s*([^\s=;"]{1,128})\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)\s*""", re.DOTALL)
_PIECE = re.compile(r"(.+?)(?:\*(\d{1,3}))?(\*)?\Z", re.DOTALL)


def _octets_of(encoding, text):
    text = text.encode("utf-8", "surrogateescape")
    if encoding in "Qq":
        return re.sub(rb"=([0-9A-Fa-f]{2})", lambda found: binascii.unhexlify(found[1]), text.replace(b"_", b" "))
    text = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    text = text[:len(text) - (len(text) % 4 == 1)]
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def decoded(value):
    """A header's value (str, one line) with its encoded words decoded.

    Neighbours in one character set are decoded together: senders cut characters in two. A NUL stays none: it becomes U+FFFD.
    """
    if "=?" not in value[:VALUE_OCTETS]:
        return value
    found, at, charset, octets = [], 0, None, b""
    head, rest = value[:VALUE_OCTETS], value[VALUE_OCTETS:]
    for word in _WORD.finditer(head):
        between = head[at:word.start()]
        neighbours = charset is not None and _BETWEEN.match(between) is not None
        if not neighbours or word[1].lower() != charset:
            if charset is not None:
                found.append(text_of(octets, charset))
                octets = b""
            if not neighbours:
                found.append(between)
        charset = word[1].lower()
        octets += _octets_of(word[2], word[3])
        at = word.end()
    if charset is not None:
        found.append(text_of(octets, charset))
    return ("".join(found) + head[at:]).replace("\0", "\ufffd") + rest


def fields_value(parts):
    """The parts of a Field (octets) as one line of text; octets that are no UTF-8 as surrogateescape has them."""
    return b" ".join(part.lstrip(b" \t") for part in parts).decode("utf-8", "surrogateescape")


def _without_comments(value):
    """The value without comments (RFC 5322 §3.2.2) outside of quotes."""
    if "(" not in value:
        return value
    kept, depth, quoted, at = [], 0, False, 0
    for found in re.finditer(r'\\.|["()]', value, re.DOTALL):
        sign = found[0]
        if depth == 0:
            kept.append(value[at:found.start()])
        at = found.end()
        if sign == '"' and depth == 0:
            quoted = not quoted
        if sign == "(" and not quoted:
            depth += 1
        elif sign == ")" and depth and not quoted:
            depth -= 1
        elif depth == 0:
            kept.append(sign)
    if depth == 0:
        kept.append(value[at:])
    return "".join(kept)


def _unquoted(text):
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:], flags=re.DOTALL)
    return text.strip()


def parameters_of(value):
    """(the value before the parameters, {name in lower case: text}) of a field such as Content-Type.

    Of a name that occurs twice the first counts. Encoded words in a value are decoded, though RFC 2047 §5 forbids them there.
    """
    value = _without_comments(value[:VALUE_OCTETS])
    head, semicolon, rest = value.partition(";")
    pieces, at, count = {}, 0, 0
    while semicolon and at < len(rest) and count < PARAMETERS:
        found = _PARAMETER.match(rest, at)
        if found:
            name = _PIECE.match(found[1].lower())
            pieces.setdefault(name[1], {}).setdefault((int(name[2] or 0), bool(name[2]), bool(name[3])), found[2])
            at = found.end()
            count += 1
        at = rest.find(";", at) + 1
        if at == 0:
            break
    return head.strip(), {name: _put_together(parts) for name, parts in pieces.items()}


def _put_together(parts):
    """One parameter from its pieces: {(number, numbered, extended): text}. What is in pieces or extended is for those who can
    read that, and goes before a plain one (RFC 2231 §3 and §4)."""
    plain = parts.get((0, False, False))
    if len(parts) == 1 and plain is not None:
        return decoded(_unquoted(plain))
    charset, octets, expected = None, [], 0
    for (number, numbered, extended), text in sorted(parts.items()):
        if (number, numbered, extended) == (0, False, False):
            continue
        if numbered and number != expected:
            if number < expected:
                continue
            break
        text = _unquoted(text)
        if extended:
            if number == 0 and text.count("'") >= 2:
                charset, _, text = text.split("'", 2)
            octets.append(unquote_to_bytes(text.encode("utf-8", "surrogateescape")))
        else:
            octets.append(text.encode("utf-8", "surrogateescape"))
        expected = number + 1
    return text_of(b"".join(octets), charset)
