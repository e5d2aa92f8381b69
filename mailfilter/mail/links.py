"""What a text links to: addresses of the web, and the hosts in them, which lists of domains are asked about.

Text or HTML, as it stands in a message; nothing is decoded but what would hide a host (entities, percent signs). Must not
know: messages, MIME, lists.
"""
import html
import re
from urllib.parse import unquote

__all__ = ["LINK_CHARS", "hosts_in", "links_in"]

# A scheme, or the "www." that mail programs make a link of; then an authority (RFC 3986 §3.2), ended by what cannot be in it.
_LINK = re.compile(r"""(?:\b(?:https?|ftp)\s*:\s*[/\\]{2,}|\bwww(?=\.))([^\s/?#"'<>()\[\]{}|\\^`]{1,512})""", re.IGNORECASE)
# The same with what follows (RFC 3986 §3.3 to §3.5), up to what ends a link in text or HTML.
_WHOLE = re.compile(r"""(?:\b(?:https?|ftp)\s*:\s*[/\\]{2,}|\bwww(?=\.))[^\s"'<>()\[\]{}|^`]{1,2048}""", re.IGNORECASE)
_HOST = re.compile(r"[^.\s]+(?:\.[^.\s]+)+")

LINK_CHARS = 2048
"""The longest link that is found whole."""


def links_in(text, limit):
    """The links in `text` as they are written (without blanks in front of the slashes), each once, at most `limit`.

    The time taken is linear in the length of the text.
    """
    found = {}
    if "&#" in text or "&amp" in text:
        text = html.unescape(text)
    for match in _WHOLE.finditer(text):
        scheme, colon, rest = match[0].partition(":")
        link = match[0] if not colon or "/" not in rest[:8] else f"{scheme.strip().lower()}:{rest.strip()}"
        found[link.rstrip(".,;:!*&")] = None
        if len(found) >= limit:
            break
    return list(found)


def hosts_in(text, limit):
    """The hosts of the links in `text`, in lower case, without "www.", in their order, each once, at most `limit`.

    Addresses are hosts, too. The time taken is linear in the length of the text.
    """
    found = {}
    # Hidden by entities: &#104;ttp://
    if "&#" in text or "&amp" in text:
        text = html.unescape(text)
    for match in _LINK.finditer(text):
        authority = match[1].rpartition("@")[2]
        if "%" in authority:
            authority = unquote(authority)
        # A sentence goes on behind a link: what cannot end a host does not belong to it.
        host = re.sub(r":[0-9]*$", "", authority.rstrip(".,;:!*&")).strip(".").lower()
        host = host.removeprefix("www.")
        if _HOST.fullmatch(host) and len(host) <= 253:
            found[host] = None
            if len(found) >= limit:
                break
    return list(found)
