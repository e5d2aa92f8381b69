"""What TLS to a service outside must be: a certificate of an authority, of one's own authorities, or any.

Must not know: services, connections.
"""
import ssl

from mailfilter.errors import ServiceUnavailable

__all__ = ["client_context"]


def client_context(authorities, verify):
    """An SSLContext. authorities: a file of certificates, None for the system's. verify: whether the certificate must be signed
    by one of them and name the host. Reads files: for a thread. ServiceUnavailable."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise ServiceUnavailable(f"the certificates in {authorities} cannot be read: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
