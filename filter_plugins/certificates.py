"""Pure functions for role certificates: what is there, what is due, and what is refused."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.x509 import (
    as_text,
    authority_problem,
    day,
    expiry,
    issued_by,
    names_of,
    public_key,
    read_chain,
    subject_of,
)

# The result of an Ansible task for one item.
Result = Mapping[str, Any]
Wanted = Mapping[str, Any]

_USES = (
    x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    ),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
    x509.BasicConstraints(ca=False, path_length=None),
)


def _name(text: str) -> str:
    try:
        return f"IP:{ip_address(text)}"
    except ValueError:
        return f"DNS:{text}"


def certificate_names(wanted: Wanted) -> list[str]:
    """The names and addresses of a certificate as community.crypto takes them, sorted."""
    return sorted({_name(text) for text in (*wanted["names"], *(wanted.get("addresses") or []))})


def certificate_subject(wanted: Wanted) -> str:
    """The common name, which may have 64 characters at most."""
    first: str = wanted["names"][0]
    return first[:64]


def _text(result: Result) -> str | None:
    content = result.get("content")
    return None if content is None else base64.b64decode(content).decode("ascii", "replace")


def authority_verdict(
    certificate: Result, key: Result, place: str, host: str, now: datetime | None = None
) -> str:
    """Why the authority on `host` cannot issue, in one line; empty when it can.

    `certificate` is the result of slurp for `place`, which has certificate.pem and key.pem; `key`
    that of openssl_privatekey_info, which ends with `can_load_key: false` where there is no key.
    """
    text = _text(certificate)
    if not key["can_load_key"]:
        if text is None:
            return ""
        return (
            f"the key of the fabric's CA is gone from {place}/key.pem on {host}: bring it back from"
            " your backup; to begin with a new CA, move certificate.pem away, too"
            " (docs/operations.md, Certificates)"
        )
    if "public_key" not in key:
        return (
            f"fabric_ca_passphrase does not open the key of the fabric's CA, {place}/key.pem on"
            f" {host}, or the file is spoilt: set the passphrase that it was made with, or bring it"
            " back from your backup"
        )
    if text is None:
        return ""
    try:
        chain = read_chain(text)
    except ValueError as problem:
        return f"{place}/certificate.pem on {host}: {problem}: bring it back from your backup"
    if public_key(chain[0]) != key["public_key"]:
        return (
            f"{place}/key.pem on {host} is not the key of {place}/certificate.pem, which stands"
            " beside it: bring back from your backup the one that is wrong"
        )
    found = authority_problem(chain, now or datetime.now(UTC))
    if found is not None:
        return (
            f"the fabric's CA, {place}/certificate.pem on {host}: {found}: docs/operations.md,"
            " Certificates, says how it is renewed with the same key"
        )
    return ""


def authority_given(certificate: Result, given: str, place: str, host: str) -> str:
    """Why the CA of the inventory may not take the place of the one on the host; empty if it may.

    It may when it has the same key: then it is a new certificate of the same CA.
    """
    text = _text(certificate)
    if text is None:
        return ""
    there, new = read_chain(text)[0], read_chain(given)[0]
    if public_key(there) == public_key(new):
        return ""
    return (
        f"fabric_ca_certificate is {subject_of(new)}, but {host} has the CA {subject_of(there)} in"
        f" {place}: move that folder away when all its certificates may be replaced"
        " (docs/operations.md, Certificates)"
    )


def trust_problem(trusted: Result, authority: str, path: str) -> str:
    """Why this host may not be told to trust the CA; empty if it may.

    A CA's host that was reinstalled has a new CA, and who trusts that alone trusts nobody else.
    """
    text = _text(trusted)
    if text is None:
        return ""
    now = read_chain(authority)[0]
    try:
        before = read_chain(text)[0]
    except ValueError as problem:
        return f"{path}: {problem}: move it away, and the next run writes it anew"
    if public_key(before) == public_key(now):
        return ""
    return (
        f"{path} is of another CA ({subject_of(before)}) than this fabric's ({subject_of(now)}):"
        " bring that CA back, or begin with a new one (docs/operations.md, Certificates)"
    )


def certificate_plan(
    wanted: Iterable[Wanted],
    certificates: Iterable[Result],
    keys: Iterable[Result],
    authority: str,
    place: str,
    days: Mapping[str, int],
    now: datetime | None = None,
) -> list[dict[str, Any]]:
    """For each certificate that a host wants: what is due and why, or why nothing may be done.

    `certificates` and `keys` are the results of slurp and openssl_privatekey_info in the same
    order; `authority` is the CA's certificate with those above it; `days` are `valid` and `renew`.
    Each entry is the wanted certificate with `problem` (or empty), `reason` (why it is issued now,
    or empty), `keyless` (a key is made first), `text` (what is there) and `not_after`, in the words
    of community.crypto.
    """
    now = now or datetime.now(UTC)
    chain = read_chain(authority)
    broken = authority_problem(chain, now)
    plan = []
    for one, certificate, key in zip(wanted, certificates, keys, strict=True):
        path = f"{place}/{one['name']}.pem"
        text = _text(certificate)
        problem = _conflict(path, text, key, chain[0])
        if broken is not None:
            where = "docs/operations.md, Certificates"
            problem = f"the fabric's CA cannot issue {one['name']}: {broken} ({where})"
        reason = "" if problem else _reason(one, text, chain, int(days["renew"]), now)
        end = min(now + timedelta(days=int(days["valid"])), expiry(chain))
        plan.append(
            {
                **one,
                "problem": problem,
                "reason": reason,
                "keyless": not key["can_load_key"],
                "text": text,
                "not_after": f"{end:%Y%m%d%H%M%SZ}",
            }
        )
    return plan


def _conflict(path: str, text: str | None, key: Result, authority: x509.Certificate) -> str:
    """What stands there and must not be replaced without a word of the operator's."""
    both = f"move {path} and {path}.key away"
    if key["can_load_key"] and "public_key" not in key:
        return (
            f"{path}.key is no private key without a passphrase: bring it back from your backup, or"
            f" {both} for new ones"
        )
    if text is None:
        return ""
    if not key["can_load_key"]:
        return f"{path} has lost its key, {path}.key: bring it back from your backup, or {both}"
    try:
        mine = read_chain(text)[0]
    except ValueError:
        return f"{path} is no certificate: move it away, and the next run makes it from its key"
    if public_key(mine) != key["public_key"]:
        return (
            f"{path}.key is not the key of {path}: bring back the one that is wrong from your"
            f" backup, or {both} for new ones"
        )
    if not issued_by(mine, authority):
        return (
            f"{path} is of a foreign CA ({mine.issuer.rfc4514_string()}), and this fabric's is"
            f" {subject_of(authority)}: bring that CA back, or, if {path} may be replaced, {both}"
        )
    return ""


def _reason(
    wanted: Wanted,
    text: str | None,
    chain: list[x509.Certificate],
    renew_days: int,
    now: datetime,
) -> str:
    """Why a certificate is issued now; empty when the one that is there is good."""
    if text is None:
        return "there is none"
    mine, *above = read_chain(text)
    if names_of(mine) != certificate_names(wanted) or _common_name(mine) != certificate_subject(
        wanted
    ):
        return "its names have changed"
    if as_text(above) != as_text(_intermediates(chain)):
        return "the CA's own certificates have changed"
    end = mine.not_valid_after_utc
    # One that lasts as long as the CA's own is not made any better.
    if end <= now + timedelta(days=renew_days) and end < expiry(chain):
        return f"it {'expires' if end > now else 'expired'} on {day(end)}"
    return ""


def _common_name(holder: x509.Certificate | x509.CertificateSigningRequest) -> str | None:
    parts = [*holder.subject]
    (one,) = parts if len(parts) == 1 else (None,)
    if one is None or one.oid != x509.NameOID.COMMON_NAME:
        return None
    return str(one.value)


def _intermediates(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """What a server sends beside its own certificate: all but the one that issued itself."""
    return chain[:-1]


def request_problem(request: str, wanted: Wanted) -> str:
    """Why a request that came from a host is not signed; empty if it may be.

    The CA's module copies what a request asks for. The host made it, and a host that somebody has
    taken over would ask for another one's name, or to be an authority.
    """
    try:
        csr = x509.load_pem_x509_csr(request.encode())
        asked = [extension.value for extension in csr.extensions]
        sound = csr.is_signature_valid
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return f"the request for {wanted['name']} is none: who changed it on that host?"
    names = [value for value in asked if isinstance(value, x509.SubjectAlternativeName)]
    others = [value for value in asked if not isinstance(value, x509.SubjectAlternativeName)]
    if (
        not sound
        or len(names) != 1
        or names_of(csr) != certificate_names(wanted)
        or _common_name(csr) != certificate_subject(wanted)
        or len(others) != len(_USES)
        or any(value not in others for value in _USES)
    ):
        return (
            f"the request for {wanted['name']} asks for something else than the inventory:"
            f" {subject_of(csr)}, {', '.join(names_of(csr)) or 'no names'}, or other uses; who"
            " changed it on that host?"
        )
    return ""


def certificate_text(issued: str, authority: str) -> str:
    """What a server shows: its certificate, and those between it and the root."""
    return as_text([*read_chain(issued)[:1], *_intermediates(read_chain(authority))])


def certificate_expiry(text: str) -> int:
    """When a certificate ends, in seconds since 1970; of several, the first that ends."""
    return int(expiry(read_chain(text)).timestamp())


def certificates_unread(
    wanted: Iterable[Wanted],
    files: Iterable[Result],
    units: Iterable[Result],
    stamps: Iterable[Result],
    authority: Result,
) -> list[Wanted]:
    """The certificates that a running unit has not read yet.

    A unit reads its files when it starts, and when it is told to: then the stamp is touched. What
    is newer than both is unread, also when an earlier run was interrupted.
    """
    unread = []
    for one, file, unit, stamp in zip(wanted, files, units, stamps, strict=True):
        if unit.get("skipped") or not file["stat"]["exists"]:
            continue
        said = dict(line.split("=", 1) for line in unit["stdout"].splitlines() if "=" in line)
        if said.get("ActiveState") != "active":
            continue
        written = max(float(file["stat"]["mtime"]), float(authority["stat"].get("mtime", 0)))
        # systemd says it in whole seconds, rounded down.
        read = float(said.get("ActiveEnterTimestamp", "").removeprefix("@") or 0)
        if stamp["stat"]["exists"]:
            read = max(read, float(stamp["stat"]["mtime"]))
        if written >= read:
            unread.append(one)
    return unread


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "authority_given": authority_given,
            "authority_verdict": authority_verdict,
            "certificate_expiry": certificate_expiry,
            "certificate_names": certificate_names,
            "certificate_plan": certificate_plan,
            "certificate_subject": certificate_subject,
            "certificate_text": certificate_text,
            "certificates_unread": certificates_unread,
            "request_problem": request_problem,
            "trust_problem": trust_problem,
        }
