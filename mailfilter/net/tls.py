"""TLS as a setting: which certificates we show, what we ask of a peer, and what is known of a connection made so.

`ServerTls` is ours towards clients: certificates chosen by the name that a client asks for (SNI), read again when their
files change. `ClientTls` is ours towards a next hop: whether TLS must be and what the certificate must satisfy. Both
make `ssl.SSLObject`s for net/tls_stream.py and say what came of a handshake as plain facts.

Must not know: sockets, SMTP, when a handshake happens.
"""
import functools
import hashlib
import ipaddress
import os
import ssl
import time

from mailfilter import log as logs
from mailfilter.errors import ConfigError, MailfilterError

__all__ = ["CIPHERS", "MODES", "NO_LOG", "ClientTls", "ServerTls", "TlsError", "reason_of"]

# For TLS 1.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 knows no other.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

MINIMA = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# Whether certificate files have changed is looked at on new connections, at most once in so many seconds.
RELOAD_CHECK_S = 2.0

# One ticket for each full handshake: a mail client that comes again comes with one connection at a time.
TICKETS = 1

# Of a connection to a next hop; see ClientTls.
MODES = ("off", "opportunistic", "required", "verified")

# A peer's name for itself is untrusted and goes to policies and log lines.
_SUBJECT_BYTES = 1024


class TlsError(MailfilterError):
    """A handshake that failed, or whose outcome is not what was asked for; `reason` in few words, for counters."""

    def __init__(self, message, reason="failed"):
        super().__init__(message)
        self.reason = reason


def NO_LOG(severity, session_id, text, **fields):
    """A `Log.write` that keeps nothing, for those who want no log."""


def reason_of(error):
    """What an exception of the ssl module means, in few words without places in C files."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "certificate verify failed"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _subject(info):
    """A certificate's subject as `CN=mx.example.org, O=Example`; the names of attributes are OpenSSL's, abbreviated."""
    short = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
             "localityName": "L", "stateOrProvinceName": "ST", "domainComponent": "DC"}
    parts = [f"{short.get(name, name)}={value}" for group in reversed(info.get("subject", ())) for name, value in group]
    return ", ".join(parts)[:_SUBJECT_BYTES]


def _peer_info(sslobject):
    """What is in the peer's certificate, verified or not, as `ssl.SSLSocket.getpeercert` has it."""
    info = sslobject.getpeercert()
    if not info:
        # getpeercert() keeps unverified certificates to itself.
        try:
            info = sslobject._sslobj.get_unverified_chain()[0].get_info()
        except (AttributeError, IndexError, TypeError, ValueError, ssl.SSLError):
            info = {}
    return info


def _facts(sslobject, sni, verified):
    cipher, _, bits = sslobject.cipher()
    certificate = sslobject.getpeercert(binary_form=True)
    return {
        "version": sslobject.version(), "cipher": cipher, "bits": bits, "sni": sni,
        "subject": _subject(_peer_info(sslobject)) if certificate else None,
        "fingerprint": hashlib.sha256(certificate).hexdigest() if certificate else None,
        "verified": bool(certificate) and verified, "resumed": bool(sslobject.session_reused)}


def _strict(context, minimum, ciphers):
    """What holds for every context of ours."""
    context.minimum_version = MINIMA[minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_SINGLE_ECDH_USE
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ConfigError(f"the TLS ciphers {ciphers!r} name none that OpenSSL knows") from None
    return context


# Towards clients.


class _Object(ssl.SSLObject):
    """A server's side of one connection; remembers which name was asked for."""

    sni = None


def _signature(paths):
    """What tells one state of files from another; missing files are a state, too."""
    states = []
    for path in paths:
        try:
            found = os.stat(path)
            states.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError as error:
            states.append(error.errno)
    return tuple(states)


def _no_password():
    raise ConfigError("the key is encrypted; a server that starts by itself needs one without a passphrase")


def _load_chain(context, file, key):
    """Load a chain and its key into `context`; ConfigError names the file and says why not."""
    for path in {file, key}:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"the TLS certificate {path} cannot be read: {error.strerror}") from None
    try:
        context.load_cert_chain(file, key, _no_password)
    except ConfigError as error:
        raise ConfigError(f"the TLS certificate {file} cannot be used: {key}: {error}") from None
    except (ssl.SSLError, OSError, ValueError) as error:
        why = reason_of(error)
        if "key values mismatch" in why or "key type mismatch" in why:
            why = f"the key in {key} is not the certificate's"
        elif "no start line" in why or "PEM lib" in str(error):
            why = f"there is no certificate in it, or no key in {key}"
        elif why.startswith("["):
            why = "it is damaged"
        raise ConfigError(f"the TLS certificate {file} cannot be used: {why}") from None


def _names_and_times(file):
    """(names, not before, not after) of the first certificate in a PEM file; times in seconds since 1970. ConfigError."""
    try:
        info = ssl._ssl._test_decode_cert(file)
    except (ssl.SSLError, OSError, ValueError) as error:    # it has been another one a moment ago
        raise ConfigError(f"the TLS certificate {file} cannot be used: {reason_of(error)}") from None
    names = {value.lower() for kind, value in info.get("subjectAltName", ()) if kind == "DNS"}
    if not names:
        names = {value.lower() for group in info["subject"] for name, value in group if name == "commonName"}
    return frozenset(names), ssl.cert_time_to_seconds(info["notBefore"]), ssl.cert_time_to_seconds(info["notAfter"])


class _Identity:
    """Certificates for the same names (one RSA and one ECDSA, say) in one context."""

    def __init__(self, pairs, make_context):
        self.pairs = pairs
        self._make_context = make_context
        self.failed = None              # the state of the files that could not be loaded
        self.load()

    def signature(self):
        return _signature([path for pair in self.pairs for path in pair])

    def load(self):
        """Read the files; ConfigError, and nothing changes, when they cannot be used."""
        for last in (False, False, True):
            signature = self.signature()
            context = self._make_context()
            for file, key in self.pairs:
                _load_chain(context, file, key)
            told = [_names_and_times(file) for file, _ in self.pairs]
            if self.signature() == signature:
                break
            if last:        # else one certificate may be shown for the names of another
                raise ConfigError(f"the TLS certificate {self.pairs[0][0]} cannot be used: it is being replaced")
        self.names, self.not_before, self.not_after = told[0][0], max(t[1] for t in told), min(t[2] for t in told)
        self.context = context
        self.loaded = signature

    def warning(self, now):
        """What is odd about it, or None."""
        for moment, wrong, what in ((self.not_after, now > self.not_after, "has expired on"),
                                    (self.not_before, now < self.not_before, "is not valid before")):
            if wrong:
                day = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
                return f"the TLS certificate {self.pairs[0][0]} {what} {day}"
        return None


class ServerTls:
    """The certificates that clients are shown.

    Session tickets: their keys belong to a context that is made once, before workers are forked, and is never
    replaced. So a ticket of one worker is good at every other one, and stays good when certificates are read again.
    """

    server_side = True

    def __init__(self, certificates, *, client_ca=None, ciphers=CIPHERS, minimum="1.2", log=NO_LOG):
        """
        Args:
            certificates: pairs of file names (certificate chain, key) in PEM; the key's may be the same. The first is
                shown to whoever asks for no name, or for an unknown one.
            client_ca: a file of CA certificates: clients are asked for a certificate; one that these have not signed
                fails the handshake, none is all right.
            ciphers: for TLS 1.2, in OpenSSL's words. minimum: "1.2" or "1.3".
            log: called as Log.write.

        Raises:
            ConfigError: a file cannot be used; the message names it and says why.
        """
        if minimum not in MINIMA:
            raise ConfigError(f"the least TLS version is {minimum!r}; expected {' or '.join(MINIMA)}")
        self._settings = (minimum, ciphers, client_ca)
        self._log = log
        self._front = self._make_context()
        self._front.sni_callback = self._choose
        self._identities = self._grouped(certificates)
        self._by_name = self._names()
        self._next_check = time.monotonic() + RELOAD_CHECK_S
        for identity in self._identities:
            self._warn(identity)

    @property
    def names(self):
        """All names that there are certificates for, sorted."""
        return sorted(self._by_name)

    @property
    def files(self):
        """Certificate files, in the order given."""
        return [file for identity in self._identities for file, _ in identity.pairs]

    def _make_context(self):
        minimum, ciphers, client_ca = self._settings
        context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), minimum, ciphers)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = TICKETS
        context.sslobject_class = _Object
        if client_ca is not None:
            try:
                context.load_verify_locations(client_ca)
            except (ssl.SSLError, OSError) as error:
                why = "there is no certificate in it" if isinstance(error, ssl.SSLError) else reason_of(error)
                raise ConfigError(f"the CA file {client_ca} for client certificates cannot be used: {why}") from None
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _grouped(self, certificates):
        groups = {}
        for file, key in certificates:
            probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            _load_chain(probe, file, key)
            groups.setdefault(_names_and_times(file)[0], []).append((file, key))
        if not groups:
            raise ConfigError("TLS needs a certificate: give --tls-certificate FILE[,KEY]")
        return [_Identity(pairs, self._make_context) for pairs in groups.values()]

    def _names(self):
        by_name = {}
        for identity in self._identities:
            for name in identity.names:
                by_name.setdefault(name, identity)
        return by_name

    def _warn(self, identity):
        warning = identity.warning(time.time())
        if warning is not None:
            self._log(logs.WARNING, "-", warning)

    def identity_for(self, name):
        """The certificates for `name`: those that name it, then a wildcard's, then the first ones given."""
        if name:
            name = name.lower().rstrip(".")
            found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
            if found is not None:
                return found
        return self._identities[0]

    def _choose(self, sslobject, name, context):
        """OpenSSL asks in the middle of a handshake, also when the client names nobody."""
        sslobject.sni = name.lower() if name else None
        sslobject.context = self.identity_for(name).context

    def reload(self, force=False):
        """Read again what has changed (or all, if `force`); what cannot be used is logged, and the old one stays."""
        self._next_check = time.monotonic() + RELOAD_CHECK_S
        for identity in self._identities:
            now = identity.signature()
            if not force and now in (identity.loaded, identity.failed):
                continue
            try:
                identity.load()
            except ConfigError as error:
                identity.failed = now
                self._log(logs.ERR, "-", f"{error}; the one loaded before is kept")
                continue
            identity.failed = None
            self._by_name = self._names()
            self._log(logs.NOTICE, "-", "TLS certificate reloaded", file=identity.pairs[0][0], pid=os.getpid())
            self._warn(identity)

    def warn_of_unreadable(self):
        """Tell of files that were read as root and cannot be read again as who we are now."""
        for identity in self._identities:
            for path in sorted({path for pair in identity.pairs for path in pair}):
                if not os.access(path, os.R_OK):
                    self._log(logs.WARNING, "-", "this user may not read a TLS file, so changes of it need a restart", file=path)

    def wrap(self, incoming, outgoing, host=None):
        """An `ssl.SSLObject` for a new connection; `host` is for clients only."""
        if time.monotonic() >= self._next_check:
            self.reload()
        return self._front.wrap_bio(incoming, outgoing, server_side=True)

    def established(self, sslobject, host=None):
        """The facts of a connection whose handshake is done."""
        return _facts(sslobject, sslobject.sni, True)


# Towards a next hop.


@functools.lru_cache(maxsize=64)
def _client_context(verify, ca, state):
    """One context for all connections of the same demands; `state` of the CA file is part of what is remembered."""
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "1.2", CIPHERS)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(**{"capath" if os.path.isdir(ca) else "cafile": ca})
    except (ssl.SSLError, OSError) as error:
        why = "there is no certificate in it" if isinstance(error, ssl.SSLError) else reason_of(error)
        raise ConfigError(f"the CA certificates in {ca} cannot be used: {why}") from None
    return context


def _fingerprint(text):
    plain = text.replace(":", "").replace(" ", "").lower()
    if len(plain) != 64 or not all(c in "0123456789abcdef" for c in plain):
        raise ConfigError(f"{text!r} is not a SHA-256 fingerprint (64 hexadecimal digits, colons allowed)")
    return plain


class ClientTls:
    """What TLS to a next hop shall be.

    Modes: "off"; "opportunistic" (when it is offered, whatever the certificate; who speaks SMTP decides what to do when
    the handshake fails); "required" (or no mail, whatever the certificate); "verified" (or no mail: the certificate
    must come from a CA and name the host; or, when fingerprints are given without a CA, be one of those).
    """

    server_side = False

    def __init__(self, mode="opportunistic", *, ca=None, name=None, fingerprint=()):
        """
        Args:
            ca: file or folder of CA certificates; None for the system's.
            name: what the certificate must name, and what is asked for (SNI); None for the host connected to.
            fingerprint: SHA-256 of the certificate, as hexadecimal text, or several; only with "verified".

        Raises:
            ConfigError: a value cannot be used.
        """
        if mode not in MODES:
            raise ConfigError(f"there is no TLS mode {mode!r}; known are {', '.join(MODES)}")
        self.mode = mode
        self.ca = ca
        self.name = name
        self.fingerprints = frozenset(map(_fingerprint, [fingerprint] if isinstance(fingerprint, str) else fingerprint))
        if mode != "verified" and (ca is not None or self.fingerprints):
            raise ConfigError(f"a CA or a fingerprint is looked at only in the TLS mode 'verified', not in {mode!r}")
        if self._chain_counts and ca is not None:
            self._context()

    @property
    def required(self):
        """Whether nothing may be sent without TLS."""
        return self.mode in ("required", "verified")

    @property
    def _chain_counts(self):
        return self.mode == "verified" and (self.ca is not None or not self.fingerprints)

    def _context(self):
        state = _signature([self.ca]) if self._chain_counts and self.ca is not None else None
        return _client_context(self._chain_counts, self.ca if self._chain_counts else None, state)

    def _asked_name(self, host):
        """The name to ask for and to verify; None when there is nothing to ask for (a UNIX socket's path)."""
        name = self.name or host
        if not name or name.startswith("unix:"):
            return None
        return name.strip("[]").rstrip(".")

    def wrap(self, incoming, outgoing, host=None):
        """An `ssl.SSLObject` for a connection to `host`; TlsError or ConfigError when it cannot be made."""
        name = self._asked_name(host)
        context = self._context()
        if name is None and context.check_hostname:
            raise TlsError("to verify the certificate of a next hop on a UNIX socket its name has to be given", "no name")
        try:
            return context.wrap_bio(incoming, outgoing, server_hostname=name)
        except (ValueError, TypeError) as error:      # UnicodeError is a ValueError; a NUL is a TypeError
            raise TlsError(f"{name!r} cannot be asked for: {error}", "bad name") from None

    def established(self, sslobject, host=None):
        """The facts of a connection whose handshake is done; TlsError when the certificate is not one of those wanted."""
        facts = _facts(sslobject, self._sent_name(host), self.mode == "verified")
        if self.fingerprints and facts["fingerprint"] not in self.fingerprints:
            raise TlsError(f"its certificate has the fingerprint {facts['fingerprint']}, which is none of those expected",
                           "wrong fingerprint")
        return facts

    def _sent_name(self, host):
        name = self._asked_name(host)
        try:
            ipaddress.ip_address(name or "")
        except ValueError:
            return name
        return None                     # addresses are verified but not asked for (RFC 6066 §3)
