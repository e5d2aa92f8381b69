"""Certificates for tests: an authority that lives as long as the test run and signs whatever it is asked for."""
import datetime
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Certificate:
    """Files of one certificate: `file` (chain), `key`; `both`, one file with the two; its SHA-256 `fingerprint`."""

    def __init__(self, folder, stem, certificate, key):
        self.certificate = certificate
        self.private = key
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                   serialization.NoEncryption())
        self.file, self.key, self.both = (str(Path(folder) / f"{stem}.{end}") for end in ("pem", "key", "both"))
        for path, text in ((self.file, pem), (self.key, secret), (self.both, secret + pem)):
            Path(path).write_bytes(text)
        self.fingerprint = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    @property
    def pair(self):
        return self.file, self.key


class Authority(Certificate):
    """Signs certificates into `folder`."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        self._number = 0
        key = ec.generate_private_key(ec.SECP256R1())
        super().__init__(folder, name.replace(" ", "-"), self._sign(name, [], key, None, key, (-1, 30), True), key)

    def make(self, *names, kind="ec", days=(-1, 30), organisation=None):
        """A certificate for host names or addresses; `days`: valid from and until, from now."""
        key = (ec.generate_private_key(ec.SECP256R1()) if kind == "ec"
               else rsa.generate_private_key(public_exponent=65537, key_size=2048))
        certificate = self._sign(names[0], names, key, self.certificate.subject, self.private, days, False, organisation)
        self._number += 1
        return Certificate(self.folder, f"{names[0].replace('*', 'any')}-{kind}-{self._number}", certificate, key)

    @staticmethod
    def _sign(subject, names, key, issuer, issuer_key, days, is_ca, organisation=None):
        now = datetime.datetime.now(datetime.UTC)
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
        if organisation:
            parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        name = x509.Name(parts)
        builder = x509.CertificateBuilder(
            issuer or name, name, key.public_key(), x509.random_serial_number(),
            now + datetime.timedelta(days[0]), now + datetime.timedelta(days[1]),
        ).add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), True)
        if names:
            general = []
            for text in names:
                try:
                    general.append(x509.IPAddress(ipaddress.ip_address(text)))
                except ValueError:
                    general.append(x509.DNSName(text))
            builder = builder.add_extension(x509.SubjectAlternativeName(general), False)
        return builder.sign(issuer_key, hashes.SHA256())


def client_context(authority=None, **options):
    """A context for a client that trusts the authority, or anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(authority.file)
    for name, value in options.items():
        setattr(context, name, value)
    return context
