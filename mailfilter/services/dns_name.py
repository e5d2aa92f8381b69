"""Names as they go into DNS questions: which may be sent, and by which way.

Names come from clients, message headers and other people's zones. Two facts make this file necessary:
c-ares takes C strings, so that it cuts a name at NUL and reads `\\` as an escape (an attacker's key would be found under
the victim's name); and it refuses most characters that are no letters, digits or hyphens, although the DNS allows
any octet (RFC 2181 §11) and SPF macros make such names (RFC 7208 §7).

Must not know: sockets, resolvers.
"""
import string

import idna

from mailfilter.errors import MailfilterError

__all__ = ["NameRefused", "ascii_name", "check_name", "is_plain", "labels_of"]

NAME_OCTETS = 253
"""Longest name in octets, dots counted, the final one not (RFC 1035 §2.3.4 in text form)."""

LABEL_OCTETS = 63

_PLAIN = frozenset(string.ascii_letters + string.digits + "-_.")


class NameRefused(MailfilterError, ValueError):
    """A name that must not be asked for."""


def ascii_name(name):
    """`name` (str or bytes) as it is asked for: without its final dot, non-ASCII labels as A-labels (RFC 5891).

    Labels have 1 to 63 octets, the whole at most 253, and there is no NUL or other control octet and no backslash in
    it. NameRefused otherwise: nobody can publish such a name, so that it may be taken for one that does not exist.
    """
    if isinstance(name, bytes):
        try:
            name = name.decode("utf-8")
        except UnicodeDecodeError:
            raise NameRefused("a name is UTF-8 text") from None
    if not isinstance(name, str):
        raise NameRefused("a name is text")
    if name.endswith("."):
        name = name[:-1]
    if not name.isascii():
        name = ".".join(label if label.isascii() else _a_label(label) for label in name.split("."))
    if not 1 <= len(name) <= NAME_OCTETS:
        raise NameRefused("a name has 1 to 253 octets")
    for label in name.split("."):
        if not 1 <= len(label) <= LABEL_OCTETS:
            raise NameRefused("a label has 1 to 63 octets")
    if not name.isprintable() or "\\" in name:
        raise NameRefused("a name has no control characters and no backslash")
    return name


def _a_label(label):
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise NameRefused(f"{label!r} is no internationalised label") from None


def is_plain(name):
    """Whether all of it is letters, digits, hyphens, underscores and dots: what c-ares sends as it stands."""
    return _PLAIN.issuperset(name)


def check_name(name):
    """Return `name` without its final dot if it is plain (see is_plain) and well-formed, else raise NameRefused."""
    if not isinstance(name, str) or not name.isascii():
        raise NameRefused("a name is ASCII text")
    name = ascii_name(name)
    if not is_plain(name):
        raise NameRefused("a label has letters, digits, hyphens and underscores")
    return name


def labels_of(name):
    """The labels of an ascii_name, as octets, and the empty one of the root."""
    return [*(label.encode("ascii") for label in name.split(".")), b""]
