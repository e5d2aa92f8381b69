"""Authentication to a server, as its client: the octets that one mechanism sends for each challenge (RFC 4422).

    exchange = sasl.exchange("SCRAM-SHA-256", b"user", b"pencil", host, port)
    exchange.first()            the initial response, or None where the mechanism begins with a challenge
    exchange.answer(challenge)  what to send for it; SaslError: the server does not keep to the mechanism, give it up
    exchange.proved             whether the server has shown what it must (only SCRAM asks for something)

PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677; without channel binding),
XOAUTH2 (Google's), OAUTHBEARER (RFC 7628).

Must not know: SMTP, base64, connections.
"""
import base64
import binascii
import hashlib
import hmac
import secrets
import stringprep
import unicodedata

from mailfilter.errors import MailfilterError

__all__ = ["MECHANISMS", "SaslError", "exchange"]

MOST_ITERATIONS = 1_000_000
"""What a server may ask of SCRAM: about half a second of CPU, in a thread. More is an attack on us."""

LEAST_ITERATIONS = 4096
"""RFC 7677 §4. A server that asks for less helps whoever listens to guess the password."""


class SaslError(MailfilterError):
    """The exchange cannot go on; it should be given up."""


def _prepared(text):
    """SASLprep (RFC 4013) of a name or password; SaslError for what it forbids. Octets that are not UTF-8 stay."""
    try:
        plain = text.decode("utf-8")
    except UnicodeDecodeError:
        return text
    if plain.isascii():
        if any(ord(char) < 32 or ord(char) == 127 for char in plain):
            raise SaslError("a name or password with control characters")
        return text
    plain = "".join(" " if stringprep.in_table_c12(char) else char for char in plain if not stringprep.in_table_b1(char))
    plain = unicodedata.normalize("NFKC", plain)
    forbidden = (stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
                 stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
                 stringprep.in_table_c9)
    if any(test(char) for char in plain for test in forbidden):
        raise SaslError("a name or password with forbidden characters")
    if any(map(stringprep.in_table_d1, plain)) and (
            any(map(stringprep.in_table_d2, plain)) or not stringprep.in_table_d1(plain[0])
            or not stringprep.in_table_d1(plain[-1])):
        raise SaslError("a name or password that mixes directions of writing")
    return plain.encode("utf-8")


class _Exchange:
    """What all mechanisms have. clear: whether the secret itself is sent, or something as good as it."""

    clear = False
    heavy = False               # answer() may compute for long: call it in a thread
    proved = True

    def __init__(self, user, secret):
        self.user = user
        self.secret = secret
        self.step = 0

    def first(self):
        """The initial response, or None."""
        return None

    def answer(self, challenge):
        """What to send for a challenge."""
        self.step += 1
        return self.reply(self.step, challenge)


class _Plain(_Exchange):
    clear = True

    def first(self):
        if b"\0" in self.user or b"\0" in self.secret:
            raise SaslError("a name or password with NUL")
        return b"\0" + self.user + b"\0" + self.secret

    def reply(self, step, challenge):
        if step > 1:
            raise SaslError("PLAIN has one step")
        return self.first()             # a server that does not take initial responses


class _Login(_Exchange):
    clear = True

    def reply(self, step, challenge):
        if step > 2:
            raise SaslError("LOGIN has two steps")
        return self.user if step == 1 else self.secret


class _CramMd5(_Exchange):
    def reply(self, step, challenge):
        if step > 1:
            raise SaslError("CRAM-MD5 has one step")
        return self.user + b" " + hmac.new(self.secret, challenge, hashlib.md5).hexdigest().encode("ascii")


class _Scram(_Exchange):
    heavy = True
    proved = False
    hash = None

    def __init__(self, user, secret):
        super().__init__(_prepared(user), _prepared(secret))
        self.nonce = base64.b64encode(secrets.token_bytes(18))
        self._server_signature = None

    def _bare(self):
        name = self.user.replace(b"=", b"=3D").replace(b",", b"=2C")
        return b"n=" + name + b",r=" + self.nonce

    def first(self):
        return b"n,," + self._bare()

    def reply(self, step, challenge):
        if step == 1:
            return self._final(challenge)
        if step == 2:
            self._verify(challenge)
            return b""
        raise SaslError("SCRAM has two steps")

    def _fields(self, message):
        fields = {}
        for part in message.split(b","):
            name, equals, value = part.partition(b"=")
            if not equals or len(name) != 1 or name in fields:
                raise SaslError("SCRAM: the server's message cannot be read")
            fields[name] = value
        if b"m" in fields:
            raise SaslError("SCRAM: the server wants an extension that is not known")
        return fields

    def _final(self, challenge):
        fields = self._fields(challenge)
        try:
            nonce, salt, iterations = fields[b"r"], base64.b64decode(fields[b"s"], validate=True), fields[b"i"]
        except (KeyError, binascii.Error):
            raise SaslError("SCRAM: the server's message cannot be read") from None
        if not nonce.startswith(self.nonce) or len(nonce) == len(self.nonce):
            raise SaslError("SCRAM: the server does not answer us")
        if not salt or not iterations.isdigit() or not LEAST_ITERATIONS <= int(iterations[:12]) <= MOST_ITERATIONS:
            raise SaslError(f"SCRAM: the server asks for {iterations[:12].decode('ascii', 'replace')} iterations")
        salted = hashlib.pbkdf2_hmac(self.hash, self.secret, salt, int(iterations))
        without_proof = b"c=biws,r=" + nonce
        message = self._bare() + b"," + challenge + b"," + without_proof
        client_key = hmac.digest(salted, b"Client Key", self.hash)
        signature = hmac.digest(hashlib.new(self.hash, client_key).digest(), message, self.hash)
        self._server_signature = hmac.digest(hmac.digest(salted, b"Server Key", self.hash), message, self.hash)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)

    def _verify(self, challenge):
        fields = self._fields(challenge)
        if b"e" in fields:
            raise SaslError(f"SCRAM: the server says {fields[b'e'][:40].decode('ascii', 'backslashreplace')}")
        try:
            told = base64.b64decode(fields.get(b"v", b""), validate=True)
        except binascii.Error:
            told = b""
        if self._server_signature is None or not hmac.compare_digest(told, self._server_signature):
            raise SaslError("SCRAM: the server does not know the password either")
        self.proved = True


class _ScramSha1(_Scram):
    hash = "sha1"


class _ScramSha256(_Scram):
    hash = "sha256"


class _XOAuth2(_Exchange):
    clear = True

    def first(self):
        if b"\1" in self.user or b"\1" in self.secret:
            raise SaslError("a name or token with a control character")
        return b"user=" + self.user + b"\1auth=Bearer " + self.secret + b"\1\1"

    def reply(self, step, challenge):
        # What comes is why it was refused; the refusal itself follows the empty answer.
        return b"" if challenge or step > 1 else self.first()


class _OAuthBearer(_Exchange):
    clear = True

    def __init__(self, user, secret, host, port):
        super().__init__(user, secret)
        self.host = host.encode("utf-8", "surrogateescape")
        self.port = port

    def first(self):
        if any(b"\1" in part for part in (self.user, self.secret, self.host)):
            raise SaslError("a name or token with a control character")
        name = self.user.replace(b"=", b"=3D").replace(b",", b"=2C")
        return (b"n,a=" + name + b",\1host=" + self.host + b"\1port=%d" % self.port + b"\1auth=Bearer " + self.secret
                + b"\1\1")

    def reply(self, step, challenge):
        # RFC 7628 §3.2.3: the same, but one octet is sent.
        return b"\1" if challenge or step > 1 else self.first()


_KINDS = {"PLAIN": _Plain, "LOGIN": _Login, "CRAM-MD5": _CramMd5, "SCRAM-SHA-1": _ScramSha1, "SCRAM-SHA-256": _ScramSha256,
          "XOAUTH2": _XOAuth2, "OAUTHBEARER": _OAuthBearer}

MECHANISMS = tuple(_KINDS)
"""The names of the mechanisms."""


def exchange(mechanism, user, secret, host="", port=0):
    """An exchange that has not begun.

    Args:
        mechanism: one of MECHANISMS, in any case.
        user, secret: bytes; the secret is a password or a token.
        host, port: of the server; OAUTHBEARER names them.

    Raises:
        SaslError: there is no such mechanism, or name or secret cannot be sent by it.
    """
    kind = _KINDS.get(mechanism.upper())
    if kind is None:
        raise SaslError(f"there is no mechanism {mechanism}; known are {', '.join(_KINDS)}")
    if kind is _OAuthBearer:
        return kind(user, secret, host, port)
    return kind(user, secret)
