"""Certificates and who issued them: read on the controller. community.crypto makes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

Chain = Sequence[x509.Certificate]


def read_chain(text: object) -> list[x509.Certificate]:
    """The certificates of a PEM text, in its order; raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("it is no text")
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError("there is no certificate in it") from None


def as_text(chain: Chain) -> str:
    """The certificates as PEM."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)


def public_key(
    holder: x509.Certificate | x509.CertificateSigningRequest | PrivateKeyTypes,
) -> str:
    """The public key that belongs to it, as PEM."""
    form = PublicFormat.SubjectPublicKeyInfo
    return holder.public_key().public_bytes(Encoding.PEM, form).decode()


def issued_by(one: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority signed it."""
    try:
        one.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def day(moment: datetime) -> str:
    """A date for a message."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def names_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """The names and addresses, sorted, as community.crypto writes them: `DNS:app1`."""
    try:
        extension = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return sorted(f"{_kind(name)}:{name.value}" for name in extension.value)


def _kind(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DNSName):
        return "DNS"
    return "IP" if isinstance(name, x509.IPAddress) else type(name).__name__


def subject_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The subject in a line, such as `CN=fabric CA`."""
    return holder.subject.rfc4514_string() or "nobody"


def expiry(chain: Chain) -> datetime:
    """When the first certificate of the chain ends that ends."""
    return min(one.not_valid_after_utc for one in chain)


def authority_problem(chain: Chain, now: datetime) -> str | None:
    """Why these certificates, an authority's own and those above it, are none to issue with."""
    for one in chain:
        who = subject_of(one)
        try:
            basic = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            return f"{who} is no certificate of an authority (CA:TRUE)"
        if not basic.ca:
            return f"{who} is no certificate of an authority (CA:TRUE)"
        if one.not_valid_after_utc <= now:
            return f"{who} expired on {day(one.not_valid_after_utc)}"
        if one.not_valid_before_utc > now:
            return f"{who} is not valid before {day(one.not_valid_before_utc)}"
    for one, above in itertools.pairwise(chain):
        if not issued_by(one, above):
            return f"{subject_of(one)} was not issued by {subject_of(above)}, which follows it"
    if not issued_by(chain[-1], chain[-1]):
        return (
            f"{subject_of(chain[-1])} was issued by another authority: append the certificates of"
            " those above it, up to one that issued itself"
        )
    return None


def key_problem(key: str, passphrase: str, owner: x509.Certificate) -> str | None:
    """Why a private key, encrypted with a passphrase, is not that of a certificate."""
    try:
        private = load_pem_private_key(key.encode(), passphrase.encode())
    except TypeError:
        return "is not encrypted: `openssl pkey -aes256 -in OLD -out NEW` does it"
    except ValueError:
        return "is no private key in PEM that fabric_ca_passphrase opens"
    if public_key(private) != public_key(owner):
        return f"is not the key of {subject_of(owner)}"
    return None
