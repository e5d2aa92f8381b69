"""Text that a policy made, as the octets that go on the wire.

Text of the network is `bytes` everywhere in this package. What a policy hands over may be `str`;
this is the one place where it becomes octets. It knows nothing of headers, bodies or SMTP.

Compiled: octets.pxd.
"""


def octets(text):
    """Return `text` (bytes, bytearray, memoryview or str) as `bytes`.

    In a `str` the code points U+DC80 to U+DCFF stand for the single octets 0x80 to 0xFF (Python's
    "surrogateescape"), so that octets which are not UTF-8 survive a trip through text. Any other
    lone surrogate has no octets of its own and becomes U+FFFD. Anything that is neither octets nor
    text raises TypeError.
    """
    if type(text) is bytes:
        return text
    if isinstance(text, str):
        return _encoded(text if type(text) is str else str(text))
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"text is needed, not {type(text).__name__}")


def _encoded(text):
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "".join(map(_encodable, text)).encode("utf-8", "surrogateescape")


def _encodable(char):
    return "\ufffd" if "\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" else char
