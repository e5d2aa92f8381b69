"""Passwords against their hashes, as crypt(3) of the system knows them: `openssl passwd -6`, `mkpasswd`, /etc/shadow.

Must not know: who is asked for a password, and where hashes are kept.
"""
import ctypes
import hmac
from functools import lru_cache

from mailfilter.errors import ServiceError

__all__ = ["PASSWORD_BYTES", "verify"]

PASSWORD_BYTES = 511
"""What crypt(3) takes at most; a longer password is wrong."""

_DATA_BYTES = 262144        # more than struct crypt_data has anywhere


@lru_cache(maxsize=1)
def _crypt():
    for name in ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so", None):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
        function.restype = ctypes.c_char_p
        return function
    raise ServiceError("this system has no crypt(3)")


def verify(password, hashed):
    """Whether `hashed` is the hash of this password; both bytes. It computes for as long as the hash says: call it in a
    thread.

    ServiceError: the system does not know that kind of hash. Hashes begin with "$": the old ones without (DES) are not taken,
    since they look at eight characters.
    """
    if hashed[:1] != b"$" or b"\0" in hashed:
        raise ServiceError("a hash of a password begins with $, as openssl passwd -6 makes it")
    # NUL would end the password early: what is before it must not be enough.
    possible = b"\0" not in password and len(password) <= PASSWORD_BYTES
    result = _crypt()(password if possible else b"", hashed, ctypes.create_string_buffer(_DATA_BYTES))
    if not result or result[:1] == b"*":
        raise ServiceError("the hash of a password is of a kind that this system does not know")
    return hmac.compare_digest(result, hashed) and possible
