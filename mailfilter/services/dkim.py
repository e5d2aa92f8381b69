"""DKIM signatures (RFC 6376, 8301, 8463): verified and made, with dkimpy.

dkimpy parses signatures and keys, makes header hashes and checks them. What it would get wrong or cannot do is done here:
the body is hashed in pieces and never held whole; keys are fetched so that "not there", "broken" and "not
now" are told apart (RFC 8601 §2.7.1); the numbers of signatures, and the size of keys, are bounded.

Must not know: policies, sessions, DMARC.
"""
import base64
import binascii
import hashlib
import re
from functools import lru_cache

import dkim
import dkim.crypto
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from dkim.util import InvalidTagValueList, parse_tag_value

from mailfilter._core.canonical import BodyCanonicalizer
from mailfilter.errors import ConfigError, MailfilterError
from mailfilter.services.dns_answer import FAILURES, FOUND
from mailfilter.services.synchronous import Synchronous, ahead, breathe, look_up

__all__ = [
    "PrivateKey", "Refused", "Signature", "body_hashes", "body_of", "check_form", "check_signature", "describe", "fields_of",
    "headers_of", "key_name", "key_record", "keys_ahead", "public_key", "rsa_verify", "sign", "signed_field", "text_of",
    "verify", "wanted_bodies",
]

SIGNATURES = 10
"""Signatures of one message that are verified; the result of those after them is "policy"."""

DEADLINE_S = 20.0
"""Longest time that the keys of one message may take, in seconds."""

LEAST_RSA_BITS, MOST_RSA_BITS = 1024, 8192
"""Sizes of RSA keys that are accepted (RFC 8301 §3.2). A larger one costs too much of everybody's time."""

MOST_EXPONENT = 1 << 32
"""The largest public exponent, for the same reason; 65537 is what everybody uses."""

KEY_OCTETS = 16384
"""The largest key record that is looked at."""

FIELD_OCTETS, BLANKS, NAMES = 16384, 64, 128
"""The longest signature field that is looked at, the longest run of white space in one, the most names in its h=. dkimpy's
regular expressions take time that grows with the square of such runs, its choice of fields with the names."""

_TXT = 16
_HASHES = {b"rsa-sha256": hashlib.sha256, b"rsa-sha1": hashlib.sha1, b"ed25519-sha256": hashlib.sha256}


class Refused(Exception):
    """A signature has this result for this reason."""

    def __init__(self, result, reason):
        super().__init__(reason)
        self.result = result
        self.reason = reason


class Signature:
    """One signature of a message, verified.

    result: "pass", "fail", "neutral" (it cannot be understood), "policy" (not accepted by our rules), "temperror" or
    "permerror" (its key is missing or broken). reason: why it is no pass, in words. domain, selector, identity, algorithm,
    canonicalization: as the signature says, texts or None. key_bits: 0 when there is no key. headers: the names it signs.
    length: the octets of the body it signs when it does not sign all, else None; unsigned: the octets of the body
    behind them. testing: the owner of the domain tests DKIM (t=y), so that a failure should not count. timestamp,
    expires: seconds since 1970, or None. value: the beginning of the signature itself (RFC 6008).
    """

    __slots__ = ("result", "reason", "domain", "selector", "identity", "algorithm", "canonicalization", "key_bits", "headers",
                 "length", "unsigned", "testing", "timestamp", "expires", "value")

    def __init__(self, result="neutral", reason=None):
        self.result = result
        self.reason = reason
        self.domain = self.selector = self.identity = self.algorithm = self.canonicalization = self.value = None
        self.key_bits = self.unsigned = 0
        self.headers = []
        self.length = self.timestamp = self.expires = None
        self.testing = False


def check_form(value):
    """Raise Refused unless a signature field can be looked at in bounded time."""
    if len(value) > FIELD_OCTETS:
        raise Refused("neutral", f"longer than {FIELD_OCTETS} octets")
    if re.search(rb"\s{%d}" % (BLANKS + 1), value):
        raise Refused("neutral", f"more than {BLANKS} blanks in a row")
    if value.count(b":") > NAMES:
        raise Refused("neutral", f"more than {NAMES} names in h=")


@lru_cache(maxsize=256)
def _rsa_key(modulus, exponent):
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def rsa_verify(hasher, signature, key):
    """Whether `signature` is one of what `hasher` (SHA-256) has seen, made with the key {"modulus", "publicExponent"}.

    ValueError when that is no key. A signature whose leading zeros were dropped is taken.
    """
    key = _rsa_key(key["modulus"], key["publicExponent"])
    try:
        key.verify(signature.rjust((key.key_size + 7) // 8, b"\0"), hasher.digest(), padding.PKCS1v15(),
                   Prehashed(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


# Its own arithmetic is written in Python: 0.4 ms with 2048 bits, 4 ms with 8192.
dkim.RSASSA_PKCS1_v1_5_verify = rsa_verify


# -- what the message has --------------------------------------------------------------------------------------------


def headers_of(lines):
    """Header lines (bytes, each a whole field with its CR LFs) as dkimpy's list of [name, rest of the field].

    Lines that are no field are left out: no signature can name them.
    """
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and name and not re.search(rb"[\x00-\x20\x7f-\xff]", name):
            headers.append([name, value])
    return headers


def fields_of(headers, name):
    """The values of all fields of that name (lower case, bytes), in order."""
    return [value for field, value in headers if field.lower() == name]


def wanted_bodies(headers):
    """The body hashes that the signatures in `headers` need: a set of (canonicalization, hash name, length or None)."""
    wanted = set()
    for value in fields_of(headers, b"dkim-signature")[:SIGNATURES]:
        try:
            check_form(value)
            wanted.add(body_of(parse_tag_value(value)))
        except (InvalidTagValueList, Refused):
            continue
    return wanted


def body_of(tags):
    """(canonicalization, hash name, length or None) that a signature with these tags needs."""
    hasher = _HASHES.get(tags.get(b"a"))
    if hasher is None:
        raise Refused("neutral", f"unknown algorithm {text_of(tags.get(b'a', b''))}")
    kind = tags.get(b"c", b"simple/simple").partition(b"/")[2] or b"simple"
    if kind not in (b"simple", b"relaxed"):
        raise Refused("neutral", f"unknown canonicalization {text_of(tags[b'c'])}")
    length = None
    if b"l" in tags:
        if not re.fullmatch(rb"[0-9]{1,18}", tags[b"l"]):
            raise Refused("neutral", "l= is no number")
        length = int(tags[b"l"])
    return kind.decode("ascii"), "sha1" if hasher is hashlib.sha1 else "sha256", length


def body_hashes(wanted, chunks):
    """{wanted: (digest, octets of the canonical body)} for a body given in un-stuffed chunks. Reads them once.

    Blocking work: of large bodies it belongs into a thread.
    """
    kinds = {kind: BodyCanonicalizer(kind) for kind, _, _ in wanted}
    hashers = {key: hashlib.new(key[1]) for key in wanted}
    counts = dict.fromkeys(kinds, 0)

    def add(kind, octets):
        if not octets:
            return
        for key, hasher in hashers.items():
            if key[0] == kind:
                room = len(octets) if key[2] is None else max(key[2] - counts[kind], 0)
                hasher.update(octets if room >= len(octets) else octets[:room])
        counts[kind] += len(octets)

    for chunk in chunks:
        for kind, canonicalizer in kinds.items():
            add(kind, canonicalizer.feed(chunk))
    for kind, canonicalizer in kinds.items():
        add(kind, canonicalizer.finish())
    return {key: (hasher.digest(), counts[key[0]]) for key, hasher in hashers.items()}


# -- verifying -------------------------------------------------------------------------------------------------------


def verify(resolver, headers, bodies, settled):
    """Verify every signature in `headers`; settled([Signature, …]) is called once.

    headers: of headers_of(). bodies: of body_hashes() for wanted_bodies(headers). Gives an object whose cancel() takes it
    back.
    """
    def finished(value, error):
        if error is not None:
            raise error
        settled(value)

    keys_ahead(resolver, fields_of(headers, b"dkim-signature")[:SIGNATURES])
    return Synchronous(resolver, lambda: _verified(headers, bodies), finished, seconds=DEADLINE_S)


def keys_ahead(resolver, signatures):
    """Begin to look up the keys of several signatures (values of their fields), which are wanted one after the other."""
    if len(signatures) < 2:
        return
    names = set()
    for value in signatures:
        try:
            check_form(value)
            tags = parse_tag_value(value)
            names.add(key_name(tags))
        except (Refused, InvalidTagValueList, KeyError):
            continue
    ahead(resolver, names, _TXT)


def _verified(headers, bodies):
    found = []
    for index, value in enumerate(fields_of(headers, b"dkim-signature")):
        breathe()
        signature = Signature()
        if index >= SIGNATURES:
            signature.result, signature.reason = "policy", f"more than {SIGNATURES} signatures"
        else:
            try:
                _verify_one(headers, index, value, bodies, signature)
            except Refused as refused:
                signature.result, signature.reason = refused.result, refused.reason
        found.append(signature)
    return found


def _verify_one(headers, index, value, bodies, signature):
    """Fill in `signature`; raises Refused where it is no pass."""
    check_form(value)
    try:
        tags = parse_tag_value(value)
    except InvalidTagValueList as error:
        raise Refused("neutral", f"not a list of tags: {error}") from None
    describe(signature, tags)
    verifier = dkim.DKIM(b"")
    verifier.headers = headers
    try:
        tags, include, sigheaders = verifier.verify_headerprep(index)
    except (dkim.DKIMException, ValueError, IndexError) as error:
        raise Refused("neutral", str(error)) from None
    wanted = body_of(tags)
    if b"from" not in include:
        raise Refused("permerror", "From is not signed")
    if signature.identity is not None and signature.domain is not None:
        domain = signature.identity.rpartition("@")[2].lower()
        if domain != signature.domain.lower() and not domain.endswith("." + signature.domain.lower()):
            raise Refused("permerror", "i= is outside d=")
    digest, octets = bodies[wanted]
    if wanted[2] is not None:
        signature.length = wanted[2]
        signature.unsigned = max(octets - wanted[2], 0)
        if octets < wanted[2]:
            raise Refused("fail", "the body is shorter than l= says")
    if base64.b64decode(re.sub(rb"\s+", b"", tags[b"bh"])) != digest:
        raise Refused("fail", "the body has been changed")
    record = key_record(key_name(tags))
    check_signature(verifier, tags, include, sigheaders[index], record, signature)


def check_signature(verifier, tags, include, header, record, signature):
    """Check the signature over the header with a key record; raises Refused where it is no pass."""
    key, bits, kind = public_key(record, tags, signature)
    signature.key_bits = bits
    verifier.pk, verifier.keysize, verifier.ktag, verifier.seqtlsrpt = key, bits, kind, False
    # The body was compared with bh= already; dkimpy, which would want all of it, compares that of an empty one.
    tags = {name: value for name, value in tags.items() if name != b"l"}
    canon = tags.get(b"c", b"simple/simple").partition(b"/")[2] or b"simple"
    tags[b"bh"] = base64.b64encode(_HASHES[tags[b"a"]](b"\r\n" if canon == b"simple" else b"").digest())
    verifier.body = b""
    try:
        good = verifier.verify_sig_process(tags, include, header, None)
    except (dkim.DKIMException, ValueError, binascii.Error) as error:
        raise Refused("permerror", str(error)) from None
    if not good:
        raise Refused("fail", "the header has been changed, or it was signed with another key")
    signature.result = "pass"


def describe(signature, tags):
    """What a signature says of itself."""
    def text(name):
        return text_of(tags[name]) if name in tags else None

    def number(name):
        return int(tags[name]) if name in tags and re.fullmatch(rb"[0-9]{1,18}", tags[name]) else None

    signature.domain, signature.selector, signature.algorithm = text(b"d"), text(b"s"), text(b"a")
    signature.identity = _unquoted(tags[b"i"]) if b"i" in tags else None
    signature.canonicalization = text(b"c") or "simple/simple"
    signature.headers = [text_of(name.strip()) for name in tags.get(b"h", b"").split(b":") if name.strip()]
    signature.timestamp, signature.expires = number(b"t"), number(b"x")
    signature.value = re.sub(r"\s+", "", text(b"b") or "")[:16]


def key_name(tags):
    """Where the key of a signature with these tags is."""
    return f"{text_of(tags[b's'])}._domainkey.{text_of(tags[b'd'])}"


def key_record(name):
    """The key record at `name` as octets; raises Refused. Only inside a Synchronous."""
    answer = look_up(name, _TXT)
    if answer.status in FAILURES:
        raise Refused("temperror", f"no key now: {answer.status} for {name}")
    if answer.status != FOUND:
        raise Refused("permerror", f"no key at {name}")
    # RFC 6376 §3.6.2.2: several records are undefined. One that says what it is goes before others.
    records = [record.data for record in answer.records]
    for record in records:
        if re.match(rb"\s*v\s*=\s*DKIM1\b", record):
            return record
    return records[0]


def public_key(record, tags, signature):
    """(key, bits, kind) out of a key record, for a signature with these tags; raises Refused."""
    if len(record) > KEY_OCTETS:
        raise Refused("permerror", "the key record is too long")
    try:
        fields = parse_tag_value(record)
    except InvalidTagValueList as error:
        raise Refused("permerror", f"the key record is no list of tags: {error}") from None
    flags = [flag.strip() for flag in fields.get(b"t", b"").split(b":")]
    signature.testing = b"y" in flags
    if fields.get(b"v", b"DKIM1") != b"DKIM1":
        raise Refused("permerror", f"the key record has version {text_of(fields[b'v'])}")
    if b"p" not in fields:
        raise Refused("permerror", "the key record has no key")
    if not re.sub(rb"\s+", b"", fields[b"p"]):
        raise Refused("permerror", "the key is revoked")
    kind, algorithm = fields.get(b"k", b"rsa"), tags[b"a"]
    if kind != algorithm.partition(b"-")[0]:
        raise Refused("permerror", f"the key is for {text_of(kind)}")
    allowed = [name.strip() for name in fields.get(b"h", b"").split(b":") if name.strip()]
    if allowed and algorithm.partition(b"-")[2] not in allowed:
        raise Refused("permerror", f"the key does not allow {text_of(algorithm)}")
    services = [name.strip() for name in fields.get(b"s", b"*").split(b":")]
    if b"*" not in services and b"email" not in services:
        raise Refused("permerror", "the key is not for mail")
    if b"s" in flags and signature.identity is not None and (
            signature.identity.rpartition("@")[2].lower() != (signature.domain or "").lower()):
        raise Refused("permerror", "the key does not allow subdomains in i=")
    if algorithm == b"rsa-sha1":
        raise Refused("policy", "rsa-sha1 is no longer accepted (RFC 8301)")
    try:
        key, bits, kind, _report = dkim.evaluate_pk(signature.selector, re.sub(rb"\s+", b"", record))
    except (dkim.DKIMException, ValueError, binascii.Error, IndexError, TypeError) as error:
        raise Refused("permerror", f"the key cannot be read: {error}") from None
    if kind == b"rsa":
        if bits < LEAST_RSA_BITS:
            raise Refused("policy", f"the key has {bits} bits, fewer than {LEAST_RSA_BITS}")
        if bits > MOST_RSA_BITS or key["publicExponent"] >= MOST_EXPONENT:
            raise Refused("policy", f"the key is larger than {MOST_RSA_BITS} bits, or its exponent is")
    return key, bits, kind


# -- signing ---------------------------------------------------------------------------------------------------------


class PrivateKey:
    """A key to sign with: RSA or Ed25519, in PEM or DER, or the 32 octets of an Ed25519 seed in base64.

    Raises ConfigError when it is none of these.
    """

    __slots__ = ("algorithm", "bits", "_key")

    def __init__(self, data, name="key"):
        data = data.encode("ascii", "replace") if isinstance(data, str) else bytes(data)
        try:
            if b"-----BEGIN" in data:
                key = load_pem_private_key(data, None)
            elif len(data.strip()) <= 64:
                key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(data.strip(), validate=True))
            else:
                key = load_der_private_key(data, None)
        except (ValueError, TypeError, binascii.Error) as error:
            raise ConfigError(f"{name}: not a private key: {error}") from None
        if isinstance(key, rsa.RSAPrivateKey):
            self.algorithm, self.bits = b"rsa-sha256", key.key_size
            if self.bits < LEAST_RSA_BITS:
                raise ConfigError(f"{name}: an RSA key has {LEAST_RSA_BITS} bits at least, this one {self.bits}")
        elif isinstance(key, ed25519.Ed25519PrivateKey):
            self.algorithm, self.bits = b"ed25519-sha256", 256
        else:
            raise ConfigError(f"{name}: DKIM signs with RSA or Ed25519")
        self._key = key

    def sign(self, digest):
        """The signature of a SHA-256 digest, in octets."""
        if self.bits == 256:
            return self._key.sign(digest)
        return self._key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


class _Signer(dkim.DKIM):
    """dkimpy's signer with a key of ours: its own arithmetic would take ten milliseconds."""

    def finish(self, name, fields, include, canon, key):
        """The value of the field `name`, whose b= is filled in here."""
        self.signature_algorithm = key.algorithm
        self.hasher = hashlib.sha256
        return self.gen_header(fields, include, canon, name, key)


class _Digested:
    """What dkimpy calls a key for Ed25519: `sign` gives an object with the signature."""

    def __init__(self, key):
        self._key = key

    def sign(self, digest):
        self.signature = self._key.sign(digest)
        return self


def sign(headers, bodies, *, domain, selector, key, include, oversign, canonicalization, identity, now, expires):
    """A DKIM-Signature field, its CR LF included, for a message.

    headers: of headers_of(). bodies: of body_hashes() for (canonicalization of the body, "sha256", None). include: names
    (lower case, bytes) of the fields to sign, each once; all fields of a name are signed. oversign: those that are signed
    once more, so that none can be added. now, expires: seconds since 1970, or None.
    """
    head, _, body = canonicalization.partition("/")
    present = [name.lower() for name, _ in headers]
    signed = []
    for name in include:
        signed += [name] * (present.count(name) + (name in oversign))
    if b"from" not in present:
        raise MailfilterError("a message without From cannot be signed")
    canon = dkim.CanonicalizationPolicy.from_c_value(canonicalization.encode("ascii"))
    digest, _octets = bodies[body or "simple", "sha256", None]
    fields = [field for field in (
        (b"v", b"1"), (b"a", key.algorithm), (b"c", canonicalization.encode("ascii")), (b"d", domain), (b"s", selector),
        identity and (b"i", identity),
        now is not None and (b"t", str(int(now)).encode()), expires is not None and (b"x", str(int(expires)).encode()),
        (b"h", b" : ".join(signed)), (b"bh", base64.b64encode(digest)), (b"b", b"0" * 60)) if field]
    return signed_field(headers, b"DKIM-Signature", fields, signed, canon, key)


def signed_field(headers, name, fields, include, canon, key):
    """The field `name`, its CR LF included, of `fields` (pairs, the last one b=), signed together with those in `include`."""
    signer = _Signer(b"")
    signer.headers = headers
    if key.bits == 256:
        return name + b": " + signer.finish(name, fields, include, canon, _WithAlgorithm(key))
    previous, dkim.RSASSA_PKCS1_v1_5_sign = dkim.RSASSA_PKCS1_v1_5_sign, lambda hasher, _: key.sign(hasher.digest())
    try:
        return name + b": " + signer.finish(name, fields, include, canon, key)
    finally:
        dkim.RSASSA_PKCS1_v1_5_sign = previous


class _WithAlgorithm(_Digested):
    algorithm = b"ed25519-sha256"


def text_of(octets):
    """What stands in a signature, as text for people."""
    return octets.decode("utf-8", "replace")


def _unquoted(value):
    """dkim-quoted-printable (RFC 6376 §2.11) as text."""
    value = re.sub(rb"\s+", b"", value)
    return text_of(re.sub(rb"=([0-9A-F]{2})", lambda found: bytes((int(found[1], 16),)), value))
