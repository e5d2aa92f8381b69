"""The content of a part, out of its transfer encoding (RFC 2045 §6), in pieces.

As lenient as mail readers are, since what they show is what has to be looked at: what belongs to no encoding is left out. Time
and memory are bounded by the size of the pieces.

Must not know: parts, bodies.
"""
import binascii
import re

__all__ = ["ENCODINGS", "content_of"]

_NO_BASE64 = bytes(octet for octet in range(256)
                   if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_PADDING = re.compile(b"=+")
_SOFT = re.compile(rb"=[ \t]{0,100}\r?\n")
_NO_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]{0,100}\r?\n)")
_UNFINISHED = re.compile(rb"=(?:[0-9A-Fa-f]?|[ \t]{0,100}\r?)\Z")
LINE_OCTETS = 4096
"""How much of a line of uuencode is kept for its end to come."""


def _of_base64(chunks):
    """Base64. Padding ends a group; readers go on behind it, so what follows is content, too."""
    kept = b""
    for chunk in chunks:
        data = kept + chunk.translate(None, _NO_BASE64)
        groups = _PADDING.split(data)
        kept = groups.pop()
        whole = len(kept) - len(kept) % 4
        found = [_group(group) for group in groups]
        found.append(binascii.a2b_base64(kept[:whole]))
        kept = kept[whole:]
        yield b"".join(found)
    yield _group(kept)


def _group(text):
    # A single character at the end says nothing.
    text = text[:len(text) - (len(text) % 4 == 1)]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _of_quoted_printable(chunks):
    """Quoted-printable. What follows no rule stays as it is."""
    kept = b""
    for chunk in chunks:
        data = kept + chunk
        # An escape, or a soft line end with blanks before it, may go on in the next chunk.
        unfinished = _UNFINISHED.search(data, max(len(data) - 102, 0))
        cut = unfinished.start() if unfinished else len(data)
        kept = data[cut:]
        yield _unquoted(data[:cut])
    if kept.rstrip(b" \t\r") != b"=":        # a soft line end, whose line end is the delimiter's
        yield _unquoted(kept)


def _unquoted(data):
    # binascii drops what is behind some signs that escape nothing, so these are written as they should have been.
    return binascii.a2b_qp(_SOFT.sub(b"", _NO_ESCAPE.sub(b"=3D", data)))


def _of_uuencode(chunks):
    """Uuencode, as a transfer encoding of old: lines between "begin" and "end"."""
    kept = b""
    for chunk in chunks:
        lines = (kept + chunk).split(b"\n")
        kept = lines.pop()[:LINE_OCTETS]
        yield b"".join(map(_line, lines))
    yield _line(kept)


def _line(line):
    line = line.rstrip(b"\r")
    if not line or line.startswith((b"begin ", b"end")) or not 32 < line[0] <= 96:
        return b""
    size = (line[0] - 32) & 63
    try:
        return binascii.a2b_uu(line[:1 + (size + 2) // 3 * 4])
    except binascii.Error:
        return b""


ENCODINGS = {
    "": None, "7bit": None, "8bit": None, "binary": None, "base64": _of_base64, "quoted-printable": _of_quoted_printable,
    "x-uuencode": _of_uuencode, "uuencode": _of_uuencode, "x-uue": _of_uuencode,
}
"""Names of transfer encodings; None: the content is there as it is."""


def content_of(chunks, encoding):
    """An iterator over the decoded content (bytes); of an encoding that nobody knows, over what is there (RFC 2045 §6.4)."""
    decoder = ENCODINGS.get(encoding)
    return chunks if decoder is None else decoder(chunks)
