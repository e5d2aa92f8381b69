"""ARC chains (RFC 8617): verified, and sealed.

The hashes, keys and signatures are those of DKIM (dkim.py). Seals are hashed one after the other, so that a chain costs what
it has octets and not the square of that. What is refused and what not follows dkimpy, which the published tests of ARC accept.

Must not know: policies, sessions, Authentication-Results (a value is octets here).
"""
import base64
import binascii
import hashlib
import re

import dkim
from dkim.canonicalization import Relaxed
from dkim.util import InvalidTagValueList, parse_tag_value

from mailfilter.errors import MailfilterError
from mailfilter.services.dkim import (
    DEADLINE_S,
    Refused,
    Signature,
    body_of,
    check_form,
    check_signature,
    describe,
    key_name,
    key_record,
    keys_ahead,
    public_key,
    rsa_verify,
    signed_field,
    text_of,
)
from mailfilter.services.synchronous import Synchronous, breathe

__all__ = ["Chain", "Set", "seal", "verify", "wanted_bodies"]

INSTANCES = 50
"""Sets of a chain at most (RFC 8617 §5.1.1.1). One with more fails."""

SIGNATURES_VERIFIED = 5
"""The newest message signatures that are verified. Only the newest one decides; the others say how far back a message is
what it was (oldest-pass)."""

KEYS_AHEAD = 12
"""Fields, from the newest, whose keys are asked for before they are wanted."""

_RESULTS, _SIGNATURE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
_NAMES = (_RESULTS, _SIGNATURE, _SEAL)
_INSTANCE = re.compile(rb"[ \t\r\n]{0,64}i[ \t\r\n]{0,64}=[ \t\r\n]{0,64}([0-9]{1,3})[ \t\r\n]{0,64}(?:;|$)")
_RELAXED = b"relaxed/relaxed"


class Set:
    """One set of a chain, as far as it has been verified.

    instance: from 1. seal: the outcome for its ARC-Seal, signature: for its ARC-Message-Signature, both dkim.Signature
    (result "none": not looked at). cv: what the seal says of the chain before it, a text or None. results: the value of its
    ARC-Authentication-Results behind "i=N;", in octets.
    """

    __slots__ = ("instance", "seal", "signature", "cv", "results")

    def __init__(self, instance, results):
        self.instance = instance
        self.seal = Signature("none")
        self.signature = Signature("none")
        self.cv = None
        self.results = results


class Chain:
    """The outcome for a message.

    result: "none", "pass" or "fail", the chain validation status (RFC 8617 §4.4). reason: why it is no pass, or None.
    temporary: whether it failed only because a key could not be had just now. sets: the Sets, the oldest first, as far as they
    could be read. ended: whether a seal says that the chain had failed before. oldest_pass: RFC 8617 §5.2: 0 when
    every message signature is good, else the oldest instance from which on all are (of those verified), None without a pass.
    """

    __slots__ = ("result", "reason", "temporary", "sets", "ended", "oldest_pass")

    def __init__(self, result="none", reason=None):
        self.result = result
        self.reason = reason
        self.temporary = False
        self.sets = []
        self.ended = False
        self.oldest_pass = None


# -- reading ---------------------------------------------------------------------------------------------------------


class _Field:
    """A field of a set: its place among the headers, its relaxed form, and its tags (None in the results)."""

    __slots__ = ("name", "value", "relaxed", "tags")

    def __init__(self, name, value):
        self.name = name
        self.value = value
        [(_name, self.relaxed)] = Relaxed.canonicalize_headers([(name, value)])
        self.tags = None


def _read_set(fields, name, value):
    """Put a field into `fields`, {(instance, name): _Field}; raises Refused when the form of a chain does not allow it."""
    field = _Field(name, value)
    shown = {_RESULTS: "ARC-Authentication-Results", _SIGNATURE: "ARC-Message-Signature", _SEAL: "ARC-Seal"}[name]
    if name == _RESULTS:
        found = _INSTANCE.match(value)
        number = found and found[1]
    else:
        check_form(value)
        try:
            field.tags = parse_tag_value(value)
        except InvalidTagValueList as error:
            raise Refused("permerror", f"{shown} is no list of tags: {error}") from None
        number = field.tags.get(b"i", b"")
        number = number if re.fullmatch(rb"[0-9]{1,3}", number) else None
    if not number or int(number) == 0:
        raise Refused("permerror", f"{shown} without an instance")
    instance = int(number)
    if instance > INSTANCES:
        raise Refused("permerror", f"more than {INSTANCES} instances")
    if (instance, name) in fields:
        raise Refused("permerror", f"two fields {shown} of instance {instance}")
    fields[instance, name] = field


def _read(headers):
    """({(instance, name): _Field}, the highest instance); raises Refused when the fields make no chain."""
    fields, count = {}, 0
    for name, value in headers:
        name = name.lower()
        if name in _NAMES:
            count += 1
            if count > 3 * INSTANCES:
                raise Refused("permerror", f"more than {INSTANCES} instances")
            _read_set(fields, name, value)
    highest = max((instance for instance, _ in fields), default=0)
    for instance in range(1, highest + 1):
        for name in _NAMES:
            if (instance, name) not in fields:
                raise Refused("permerror", f"the set of instance {instance} is incomplete")
    return fields, highest


def _with_form(tags):
    """Tags of a message signature with the canonicalization that ARC has where it says none."""
    return tags if b"c" in tags else {**tags, b"c": _RELAXED}


def wanted_bodies(headers):
    """The body hashes that the chain in `headers` needs; see dkim.wanted_bodies."""
    try:
        fields, highest = _read(headers)
    except Refused:
        return set()
    wanted = set()
    for instance in range(highest, max(highest - SIGNATURES_VERIFIED, 0), -1):
        try:
            wanted.add(body_of(_with_form(fields[instance, _SIGNATURE].tags)))
        except Refused:
            continue
    return wanted


# -- verifying -------------------------------------------------------------------------------------------------------


def verify(resolver, headers, bodies, settled):
    """Verify the chain of a message; settled(Chain) is called once.

    headers: of dkim.headers_of(). bodies: of dkim.body_hashes() for wanted_bodies(headers). Gives an object whose cancel()
    takes it back.
    """
    def finished(value, error):
        if error is not None:
            raise error
        settled(value)

    keys_ahead(resolver, [value for name, value in headers if name.lower() in (_SIGNATURE, _SEAL)][:KEYS_AHEAD])
    return Synchronous(resolver, lambda: _verified(headers, bodies), finished, seconds=DEADLINE_S)


def _verified(headers, bodies):
    try:
        fields, highest = _read(headers)
    except Refused as refused:
        return Chain("fail", refused.reason)
    if highest == 0:
        return Chain()
    chain = Chain("fail")
    for instance in range(1, highest + 1):
        found = Set(instance, _INSTANCE.sub(b"", fields[instance, _RESULTS].value, count=1).strip())
        describe(found.seal, fields[instance, _SEAL].tags)
        describe(found.signature, fields[instance, _SIGNATURE].tags)
        found.cv = text_of(fields[instance, _SEAL].tags.get(b"cv", b"")).lower() or None
        chain.sets.append(found)
    try:
        _check_chain(chain, fields, headers, bodies)
    except Refused as refused:
        chain.reason = refused.reason
        chain.temporary = refused.result == "temperror"
    else:
        chain.result = "pass"
    return chain


def _check_chain(chain, fields, headers, bodies):
    """RFC 8617 §5.2, in its order; raises Refused where the chain fails."""
    newest = chain.sets[-1]
    if newest.cv == "fail":
        chain.ended = True
        raise Refused("fail", f"the seal of instance {newest.instance} says that the chain had failed before")
    for one in chain.sets:
        if one.cv != ("none" if one.instance == 1 else "pass"):
            raise Refused("fail", f"the seal of instance {one.instance} says cv={one.cv}")
    oldest = None
    for one in chain.sets[:-SIGNATURES_VERIFIED - 1:-1]:
        breathe()
        try:
            _outcome(one.signature, _check_message, headers, fields[one.instance, _SIGNATURE], bodies, one.signature)
        except Refused as refused:
            if one is newest:
                raise Refused(refused.result, f"the message signature of instance {one.instance}: {refused.reason}") from None
            break
        oldest = one.instance
    hasher = hashlib.sha256()
    failed = None
    for one in chain.sets:
        for name in (_RESULTS, _SIGNATURE):
            hasher.update(name + b":" + fields[one.instance, name].relaxed)
        seal = fields[one.instance, _SEAL]
        breathe()
        try:
            _outcome(one.seal, _check_seal, hasher.copy(), seal, one.seal)
        except Refused as refused:
            failed = Refused(refused.result, f"the seal of instance {one.instance}: {refused.reason}")
            if refused.result != "temperror":
                raise failed from None
        hasher.update(_SEAL + b":" + seal.relaxed)
    if failed is not None:
        raise failed
    chain.oldest_pass = 0 if oldest == 1 else oldest


def _outcome(signature, check, *arguments):
    """Run a check; what it raises is the result of the signature, too."""
    try:
        check(*arguments)
    except Refused as refused:
        signature.result, signature.reason = refused.result, refused.reason
        raise


def _valid(tags, needed):
    """Raise Refused unless the tags are there and have the form that they must have."""
    try:
        dkim.validate_signature_fields(tags, needed, True)
    except dkim.DKIMException as error:
        raise Refused("permerror", str(error)) from None


def _check_message(headers, field, bodies, signature):
    """Check a message signature (RFC 8617 §4.1.2); raises Refused where it is no pass."""
    tags = _with_form(field.tags)
    _valid(tags, [b"i", b"a", b"b", b"bh", b"d", b"h", b"s"])
    include = [name.lower() for name in re.split(rb"\s*:\s*", tags[b"h"])]
    if _SEAL in include:
        raise Refused("permerror", "it signs ARC-Seal")
    wanted = body_of(tags)
    digest, octets = bodies[wanted]
    if wanted[2] is not None:
        signature.length = wanted[2]
        signature.unsigned = max(octets - wanted[2], 0)
        if octets < wanted[2]:
            raise Refused("fail", "the body is shorter than l= says")
    try:
        given = base64.b64decode(re.sub(rb"\s+", b"", tags[b"bh"]))
    except binascii.Error:
        raise Refused("permerror", "bh= is not base64") from None
    if given != digest:
        raise Refused("fail", "the body has been changed")
    verifier = dkim.DKIM(b"")
    verifier.headers = headers
    record = key_record(key_name(tags))
    check_signature(verifier, tags, include, (b"ARC-Message-Signature", field.value), record, signature)


def _check_seal(hasher, field, signature):
    """Check a seal (RFC 8617 §4.1.3) over what `hasher` has seen; raises Refused where it is no pass."""
    tags = field.tags
    _valid(tags, [b"i", b"a", b"b", b"cv", b"d", b"s"])
    for name in (b"h", b"bh"):
        if name in tags:
            raise Refused("permerror", f"a seal has no {text_of(name)}=")
    record = key_record(key_name(tags))
    key, signature.key_bits, _kind = public_key(record, tags, signature)
    hasher.update(_SEAL + b":" + _relaxed_without_signature(field.relaxed))
    try:
        good = rsa_verify(hasher, base64.b64decode(re.sub(rb"\s+", b"", tags[b"b"])), key)
    except (ValueError, TypeError) as error:
        raise Refused("permerror", f"the signature cannot be read: {error}") from None
    if not good:
        raise Refused("fail", "the chain has been changed, or it was sealed with another key")
    signature.result = "pass"


def _relaxed_without_signature(relaxed):
    [(_name, value)] = Relaxed.canonicalize_headers([(_SEAL, dkim.RE_BTAG.sub(rb"\1", b" " + relaxed))])
    return value.rstrip()


# -- sealing ---------------------------------------------------------------------------------------------------------


def seal(headers, bodies, *, results, cv, domain, selector, key, include, now):
    """The three fields of a new set, each with its CR LF: [ARC-Seal, ARC-Message-Signature, ARC-Authentication-Results].

    In that order they belong in front of the message. [] when the chain must not go on: it had ended before, or has as many
    sets as a chain may have (RFC 8617 §5.1). headers: of dkim.headers_of(). bodies: of dkim.body_hashes() for relaxed
    and SHA-256. results: the value of our Authentication-Results, whose octets stay as they are. cv: b"none", b"pass"
    or b"fail", the outcome for the chain that is there. include: names (lower case, bytes) of the fields to sign, as far
    as they are there. now: seconds since 1970. MailfilterError when it cannot be done.
    """
    if key.bits == 256:
        raise MailfilterError("ARC is sealed with RSA keys")
    chain = [(name.lower(), value) for name, value in headers if name.lower() in _NAMES]
    try:
        fields, highest = _read(headers)
    except Refused:
        # What is there is no chain: only what can be read of it counts for the number of ours.
        fields, highest = {}, max((_instance_of(value) for _, value in chain), default=0)
    if chain and cv == b"none" or not chain and cv != b"none":
        raise MailfilterError(f"cv={text_of(cv)} contradicts the message, which has {'a' if chain else 'no'} chain")
    if highest >= INSTANCES or _ended(chain):
        return []
    present = [name.lower() for name, _ in headers]
    signed = [name for name in include for _ in range(present.count(name))]
    if b"from" not in signed:
        raise MailfilterError("a message without From cannot be sealed")
    number, moment = b"%d" % (highest + 1), b"%d" % int(now)
    results = b"ARC-Authentication-Results: i=" + number + b"; " + results.strip() + b"\r\n"
    digest, _octets = bodies["relaxed", "sha256", None]
    message = signed_field(
        headers, b"ARC-Message-Signature",
        [(b"i", number), (b"a", b"rsa-sha256"), (b"c", _RELAXED), (b"d", domain), (b"s", selector), (b"t", moment),
         (b"h", b" : ".join([*signed, b"from"])), (b"bh", base64.b64encode(digest)), (b"b", b"0" * 60)],
        [*signed, b"from"], dkim.CanonicalizationPolicy.from_c_value(_RELAXED), key)
    hasher = hashlib.sha256()
    if cv == b"pass":
        for instance in range(1, highest + 1):
            for name in _NAMES:
                hasher.update(name + b":" + fields[instance, name].relaxed)
    # RFC 8617 §5.1.2: where the chain has failed, the seal covers its own set only.
    for field in (results, message):
        hasher.update(_canonical(field))
    value = b"; ".join((b"i=" + number, b"a=rsa-sha256", b"cv=" + cv, b"d=" + domain, b"s=" + selector, b"t=" + moment, b"b="))
    start = b"ARC-Seal: " + value.replace(b"; d=", b";\r\n d=").replace(b"; b=", b";\r\n b=")
    hasher.update(_canonical(start).rstrip())
    signature = base64.b64encode(key.sign(hasher.digest()))
    return [start + b"\r\n ".join(signature[at:at + 70] for at in range(0, len(signature), 70)) + b"\r\n", message, results]


def _canonical(field):
    name, _, value = field.partition(b":")
    [(name, value)] = Relaxed.canonicalize_headers([(name, value)])
    return name + b":" + value


def _instance_of(value):
    found = re.search(rb"(?:^|;)\s{0,64}i\s{0,64}=\s{0,64}([0-9]{1,2})\b", value)
    return int(found[1]) if found else 0


def _ended(chain):
    """Whether a seal says that the chain had failed before."""
    return any(name == _SEAL and re.search(rb"(?:^|;)\s{0,64}cv\s{0,64}=\s{0,64}fail\b", value) for name, value in chain)
