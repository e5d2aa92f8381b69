"""Hashes of passwords, against those that other programs make."""
import shutil
import subprocess

import pytest

from mailfilter.errors import ServiceError
from mailfilter.services.passwords import PASSWORD_BYTES, verify


def hashed(word, *options):
    return subprocess.run(["openssl", "passwd", *options, "-stdin"], input=word + b"\n", capture_output=True,
                          check=True).stdout.strip()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("kind", ["-6", "-5"])
@pytest.mark.parametrize("word", [b"secret", b"with blanks ", "gr\u00fc\u00df".encode(), b"\xff\xfe"])
def test_what_openssl_has_hashed(kind, word):
    right = hashed(word, kind)
    assert verify(word, right)
    for wrong in (word + b"x", word + b"\0", b"\0" + word, word[:-1], word * 300):
        assert not verify(wrong, right)


def test_bcrypt_and_yescrypt():
    # From crypt(5) of libxcrypt: the hash of U*U, and one made by mkpasswd.
    assert verify(b"U*U", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")
    assert not verify(b"U*V", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")


@pytest.mark.parametrize("wrong", [b"", b"secret", b"ab1xxxxxxxxxx", b"*", b"!", b"$nothing$x$y", b"$", b"$6$a\0$b", b"{PLAIN}x"])
def test_no_hash(wrong):
    with pytest.raises(ServiceError):
        verify(b"secret", wrong)


def test_a_hash_that_is_cut_matches_nothing():
    whole = hashed(b"secret", "-6")
    for length in (len(b"$6$"), whole.rindex(b"$") + 1, len(whole) - 1):
        try:
            assert not verify(b"secret", whole[:length])
        except ServiceError:
            pass


def test_the_longest_password():
    right = hashed(b"x" * 255, "-6")
    assert verify(b"x" * 255, right) and not verify(b"x" * (PASSWORD_BYTES + 1), right)
