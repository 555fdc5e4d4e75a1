"""Authorities and certificates for tests, made in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SERVER = x509.ExtendedKeyUsage(
    [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
)
SIGNATURE = (True, False, False, False, False, False, False, False, False)


def subject(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def key():
    return ec.generate_private_key(ec.SECP256R1())


def public(private):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def pem(*certificates):
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def encrypted(private, passphrase):
    kind = serialization.PrivateFormat.PKCS8
    how = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(serialization.Encoding.PEM, kind, how).decode()


def general(names):
    found = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


class Authority:
    """A CA, of its own or below another one."""

    def __init__(self, name="fabric CA", above=None, days=3650, now=NOW, key_of=None):
        self.name, self.above = subject(name), above
        self.key = key_of or key()
        issuer, signer = (above.name, above.key) if above else (self.name, self.key)
        self.certificate = (
            self._begun(issuer, self.name, self.key, now, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )

    def _begun(self, issuer, name, private, now, days):
        return (
            x509.CertificateBuilder()
            .issuer_name(issuer)
            .subject_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3650))
            .not_valid_after(now + timedelta(days=days))
        )

    def issue(self, private, names, days=180, now=NOW):
        return (
            self._begun(self.name, subject(names[0][:64]), private, now, days)
            .add_extension(general(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def chain(self):
        return [self.certificate, *(self.above.chain if self.above else [])]


def request(private, names, name=None, ca=False, more=()):
    """A request, as role certificates makes it unless something is said otherwise."""
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject(name or names[0]))
        .add_extension(general(names), critical=False)
        .add_extension(x509.KeyUsage(*SIGNATURE), critical=True)
        .add_extension(SERVER, critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for extension in more:
        made = made.add_extension(extension, critical=False)
    signed = made.sign(private, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
