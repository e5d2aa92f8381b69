"""Octets as text, by the name of a character set as mail has it.

Names come from strangers. Python's own look-up of them keeps every name that it does not know, for ever, and knows codecs that
are no character sets and take more than linear time; so only the sets listed here are known, by their usual names.

Must not know: where the octets come from.
"""
import codecs
import re
from encodings.aliases import aliases

__all__ = ["decoder_of", "text_of"]

_FAMILIES = re.compile(r"(?:ascii|utf_(?:7|8|16|16_be|16_le|32|32_be|32_le)|iso8859_\d+|latin_1|cp\d+|koi8_[rtu]|kz1048|ptcp154|"
                       r"mac_(?:cyrillic|greek|iceland|latin2|roman|turkish)|tis_620|hp_roman8|hz|johab|"
                       r"euc_\w+|iso2022_\w+|shift_jis\w*|gb\w+|big5\w*)\Z")

# What senders write, and the set that has all the characters of the one that they mean.
_ALSO = {
    "gb2312": "gb18030", "gbk": "gb18030", "ksc56011987": "cp949", "ksc5601": "cp949", "euckr": "cp949", "isoir149": "cp949",
    "shiftjis": "cp932", "sjis": "cp932", "xsjis": "cp932", "windows31j": "cp932", "iso88591": "cp1252", "latin1": "cp1252",
    "usascii": "cp1252", "ascii": "cp1252", "iso885911": "cp874", "tis620": "cp874", "windows874": "cp874", "big5": "big5hkscs",
    "xmacroman": "mac_roman", "macintosh": "mac_roman", "iso88598i": "iso8859_8", "iso88598e": "iso8859_8",
    "unicode11utf8": "utf_8", "xgbk": "gb18030", "cp65001": "utf_8", "iso88599": "cp1254",
}


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _table():
    known = {}
    for alias, name in aliases.items():
        for spelling in (alias, name):
            if _FAMILIES.match(name):
                known.setdefault(_plain(spelling), name)
    for number in range(1, 17):
        if number != 12:
            known[f"iso8859{number}"] = f"iso8859_{number}"
    return {**known, **_ALSO}


_KNOWN = _table()


class _Wide:
    """UTF-16 and UTF-32: the mark at the beginning says which octet comes first; without one it is the high one (RFC 2781 §4.3),
    where Python's own decoders raise."""

    def __init__(self, name, size):
        self._name = name
        self._size = size
        self._kept = b""
        self._decoder = None

    def decode(self, data, final=False):
        if self._decoder is None:
            self._kept += data
            if len(self._kept) < self._size and not final:
                return ""
            data, self._kept = self._kept, b""
            marks = {2: {b"\xff\xfe": "le", b"\xfe\xff": "be"}, 4: {b"\xff\xfe\0\0": "le", b"\0\0\xfe\xff": "be"}}[self._size]
            order = marks.get(data[:self._size])
            if order is not None:
                data = data[self._size:]
            self._decoder = codecs.getincrementaldecoder(f"{self._name}_{order or 'be'}")("replace")
        return self._decoder.decode(data, final)


def decoder_of(charset):
    """An incremental decoder for a character set (a str, or None for none); of one that nobody knows, that of ASCII's octets.

    What is no character becomes U+FFFD. Without a set, or with an unknown one, octets are taken for UTF-8 where they are it.
    """
    name = _KNOWN.get(_plain(charset)) if charset and len(charset) <= 64 else None
    if name in ("utf_16", "utf_32"):
        return _Wide(name, 2 if name == "utf_16" else 4)
    return codecs.getincrementaldecoder(name or "utf_8")("replace")


def text_of(data, charset=None):
    """Octets as text."""
    return decoder_of(charset).decode(data, True)
