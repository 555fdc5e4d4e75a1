"""One server or Sentinel told what differs: settings, users, certificates."""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..fields import Invalid
from . import facts, settings, users
from .client import Client, RefusedError
from .members import WATCHED
from .users import Account, User

HIDDEN: Final = "(hidden)"
# What Sentinel keeps for all that it watches, and what it keeps for one primary.
_SHARED: Final = ("announce-ip", "resolve-hostnames", "sentinel-user", "sentinel-pass")
_FILE_BYTES: Final = 1_048_576


@dataclass
class Told:
    """What changed, or would: a line each with former and new value, of secrets the name alone."""

    lines: dict[str, tuple[str, str]] = field(default_factory=dict)
    restart: list[str] = field(default_factory=list)

    def note(self, name: str, former: str, new: str, *, secret: bool) -> None:
        """Remember a change, for the diff."""
        self.lines[name] = (HIDDEN, f"{HIDDEN} (new)") if secret else (former, new)

    def result(self) -> dict[str, Any]:
        """Whether and what has changed, for Ansible."""
        before = [f"{name}: {old}\n" for name, (old, _) in self.lines.items() if old]
        after = [f"{name}: {new}\n" for name, (_, new) in self.lines.items() if new]
        diff = {"before": "".join(before), "after": "".join(after)}
        return {"changed": bool(self.lines), "diff": diff}


def server_settings(
    client: Client,
    wanted: Mapping[str, str],
    secrets: Mapping[str, str],
    *,
    dry_run: bool,
) -> Told:
    """Make a server's settings these, where it can without a restart.

    Raises `fields.Invalid` for a setting that this server does not know, before any is set, and
    `client.FailedError`.
    """
    if missing := sorted({*settings.CERTIFICATES} - {*wanted}):
        raise Invalid(f"settings: {', '.join(missing)}: is required")
    actual = facts.pairs(client.ask("CONFIG", "GET", "*"))
    differing = settings.differences({**wanted, **secrets}, actual)
    if differing.unknown:
        raise Invalid(
            f"settings: this Redis has no {', '.join(differing.unknown)}: correct the name"
        )
    told = Told(restart=sorted(differing.restart))
    for name, value in {**differing.live, **differing.restart}.items():
        told.note(name, actual[name], value, secret=name in secrets)
    stale = _is_stale(client, Path(wanted["tls-cert-file"]))
    if stale:
        told.lines["certificate"] = ("the former one", "that of the file")
    if dry_run:
        return told
    # Together or not at all: settings that belong together are never seen apart.
    words = [word for pair in differing.live.items() for word in pair]
    if stale:
        words += [w for n in settings.CERTIFICATES if n not in words for w in (n, wanted[n])]
    if words:
        client.ask("CONFIG", "SET", *words)
    return told


def _is_stale(client: Client, certificate: Path) -> bool:
    """Whether the certificate that the program shows is another one than the file's."""
    try:
        text = certificate.read_text()
        first = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
        der = ssl.PEM_cert_to_DER_cert(first[0]) if first else b""
    except (OSError, ValueError) as error:
        raise Invalid(f"{certificate}: {getattr(error, 'strerror', None) or error}") from error
    return client.certificate != der


def sentinel_settings(
    client: Client,
    wanted: Mapping[str, str],
    secrets: Mapping[str, str],
    state: Path,
    certificate: Path,
    *,
    dry_run: bool,
) -> Told:
    """Make a Sentinel's settings these. `state` is its own file, the only place for `auth-pass`.

    Raises `fields.Invalid` and `client.FailedError`.
    """
    actual = {
        **facts.pairs(client.ask("SENTINEL", "CONFIG", "GET", "*")),
        **facts.pairs(client.ask("SENTINEL", "MASTER", WATCHED)),
        **_kept(state),
    }
    told = Told(restart=["certificate"] if _is_stale(client, certificate) else [])
    if told.restart:
        told.lines["certificate"] = ("the former one", "that of the file")
    for name, value in {**wanted, **secrets}.items():
        if name not in actual and name not in ("auth-user", "auth-pass"):
            raise Invalid(f"settings: this Sentinel has no {name}: correct the name")
        former = actual.get(name, "")
        if settings.same(value, former):
            continue
        told.note(name, former, value, secret=name in secrets)
        if dry_run:
            continue
        if name in _SHARED:
            client.ask("SENTINEL", "CONFIG", "SET", name, value)
        else:
            client.ask("SENTINEL", "SET", WATCHED, name, value)
    return told


def _kept(state: Path) -> dict[str, str]:
    """What Sentinel keeps in its file and tells nobody.

    The file is Redis's, who may put a link or a pipe in its place: root follows and waits for none.
    """
    try:
        descriptor = os.open(state, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Invalid(f"{state}: is no file: see who put it there")
            text = file.read(_FILE_BYTES)
    except OSError as error:
        raise Invalid(f"{state}: {error.strerror}") from error
    pattern = rf'^sentinel (auth-pass|auth-user) {WATCHED} "?([^"\n]*?)"?$'
    return dict(re.findall(pattern, text, re.MULTILINE))


def accounts(client: Client, wanted: Sequence[User], *, exact: bool, dry_run: bool) -> Told:
    """Let each user in with each of its passwords; if `exact`, nobody else, and nothing else.

    Raises `client.FailedError`.
    """
    told = Told()
    names = [str(name) for name in client.items("ACL", "USERS")]
    for user in wanted:
        has = _account(client, user.name) if user.name in names else None
        words = (
            users.narrowing(user, has, _tried(client, user)) if exact else users.widening(user, has)
        )
        if words:
            told.note(f"user {user.name}", "", "", secret=True)
            if not dry_run:
                client.ask("ACL", "SETUSER", user.name, *words)
    if not exact:
        return told
    for name in sorted({*names} - {"default", users.SCRATCH} - {user.name for user in wanted}):
        told.lines[f"user {name}"] = ("here", "gone")
        if not dry_run:
            client.ask("ACL", "DELUSER", name)
    default = _account(client, "default")
    if default.enabled or default.hashes:
        told.lines["user default"] = ("on", "off")
        if not dry_run:
            client.ask("ACL", "SETUSER", "default", *users.OFF)
    return told


def _account(client: Client, name: str) -> Account:
    answer = client.items("ACL", "GETUSER", name)
    return users.account(dict(zip(map(str, answer[::2]), answer[1::2], strict=False)))


def _tried(client: Client, user: User) -> Account:
    """The rules as this server words them: a user who cannot log in gets them for a moment."""
    try:
        client.ask("ACL", "SETUSER", users.SCRATCH, "reset", *user.rules)
    except RefusedError as error:
        raise Invalid(f"users: {user.name}: {error}") from error
    try:
        return _account(client, users.SCRATCH)
    finally:
        client.ask("ACL", "DELUSER", users.SCRATCH)
