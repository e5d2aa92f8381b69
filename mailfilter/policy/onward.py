"""What of a client's MAIL and RCPT goes onward: the parameters that the next hop offers, and what must be refused because it
does not.

Compiled: onward.pxd. Must not know: connections, JavaScript.
"""

__all__ = ["refusal_of", "suited"]

# The extension that each parameter of MAIL and RCPT belongs to.
_NEEDS = {
    "SIZE": b"SIZE", "BODY": b"8BITMIME", "SMTPUTF8": b"SMTPUTF8", "REQUIRETLS": b"REQUIRETLS", "RET": b"DSN", "ENVID": b"DSN",
    "NOTIFY": b"DSN", "ORCPT": b"DSN", "AUTH": b"AUTH", "PRDR": b"PRDR",
}


def _binary(parameters):
    return str(parameters.get("BODY")).upper() == "BINARYMIME"


def _takes_binary(offered):
    return b"BINARYMIME" in offered and b"CHUNKING" in offered


def refusal_of(hop, path, parameters):
    """Why this must not go to the next hop, as a reply [code, [text]]; None when it may.

    hop: has `extensions`, and `tls`: None, or facts. path: the address in angle brackets. parameters: values by keyword.
    """
    offered = hop.extensions
    if (not path.isascii() or parameters and "SMTPUTF8" in parameters) and b"SMTPUTF8" not in offered:
        return [550, ["5.6.7 The next server does not take internationalised addresses"]]
    if not parameters:
        return None
    if "REQUIRETLS" in parameters and not (b"REQUIRETLS" in offered and hop.tls is not None and hop.tls["verified"]):
        return [550, ["5.7.30 The next server does not do REQUIRETLS"]]
    if _binary(parameters) and not _takes_binary(offered):
        return [554, ["5.6.3 The next server does not take binary messages"]]
    return None


def suited(offered, parameters):
    """The parameters that a next hop which offers these extensions takes, as they follow the path in the command."""
    text = ""
    for keyword, value in parameters.items():
        if _takes_binary(offered) if keyword == "BODY" and _binary(parameters) else _NEEDS.get(keyword) in offered:
            text += f" {keyword}" if value is None else f" {keyword}={value}"
    return text
