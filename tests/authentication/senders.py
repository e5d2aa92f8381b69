"""What tests of authentication share: records of the DNS as lines for DnsServer."""


def txt(name, text):
    """A TXT record as lines; `text` may be a tuple of its strings."""
    pieces = text if isinstance(text, tuple) else [text[i:i + 250] for i in range(0, len(text), 250)] or [""]
    quoted = " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"').replace(";", "\\;") + '"' for piece in pieces)
    return [f"{name} 60 IN TXT {quoted}"]
