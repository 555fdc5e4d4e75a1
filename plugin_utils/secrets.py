"""Secrets of an inventory: what one has to be. No message has any part of a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selvage.fields import Invalid

LENGTHS = (20, 128)
# What an administrator's `openssl rand` prints, and no configuration file reads in two ways.
_CHARACTERS = "A-Za-z0-9+/=._~-"
_DISTINCT = 8
# Words of examples; none of them is in 24 random characters but once in some billion times.
_WORDS = ("changeme", "replaceme", "example", "password", "passphrase", "default", "selvage")
MAKE_ONE = "`openssl rand -hex 16` prints a good one (docs/operations.md, Secrets)"


def check_secret(value: object, name: str, longest: int = LENGTHS[1]) -> None:
    """Refuse what is no secret; `name` is the variable that holds it."""
    problem = _problem(value, longest)
    if problem is not None:
        raise Invalid(f"{name}: {problem}: {MAKE_ONE}")


def _problem(value: object, high: int) -> str | None:
    low = LENGTHS[0]
    if not isinstance(value, str):
        return "a secret is a text: put it into quotation marks"
    plain = re.sub("[^a-z]", "", value.lower())
    found = next((word for word in _WORDS if word in plain), None)
    if found is not None:
        return f"it contains '{found}', as examples do"
    if len(value) < low:
        return f"it has {len(value)} characters, and a secret has at least {low}"
    if len(value) > high:
        return f"it has {len(value)} characters, and a secret has at most {high}"
    if re.fullmatch(f"[{_CHARACTERS}]+", value) is None:
        return "a secret has letters, digits and + / = . _ ~ - alone"
    if len({*value}) < _DISTINCT:
        return f"it has fewer than {_DISTINCT} different characters"
    return None


def secret_problems(
    values: Mapping[str, Mapping[str, Any]], needed: Mapping[str, Iterable[str]]
) -> list[tuple[str, str]]:
    """What shows only over all hosts: secrets that are missing, differ, or are alike.

    `values` are each host's settings; `needed` are the secrets, with what in this fabric needs
    them. A secret is one for the whole fabric.
    """
    problems = []
    first: dict[str, str] = {}
    for name, users in needed.items():
        given = {
            host: _texts(mine[name]) for host, mine in values.items() if mine[name] is not None
        }
        lacking = [host for host in values if host not in given]
        because = ", ".join(users)
        if because:
            text = f"{name}: is missing, and {because} of this fabric need it: {MAKE_ONE}"
            problems += [(host, text) for host in lacking]
        text = f"{name}: is not the same on all hosts: set it once, for the whole fabric"
        if len({*given.values()}) > 1:
            problems += [(host, text) for host in given]
            continue
        texts = next(iter(given.values()), ())
        if len({*texts}) < len(texts):
            text = f"{name}: the new one and the former one are the same: {MAKE_ONE}"
            problems += [(host, text) for host in given]
        for other in sorted({first.setdefault(secret, name) for secret in texts} - {name}):
            text = f"{name}: is the same as {other}: give each its own, {MAKE_ONE}"
            problems += [(host, text) for host in given]
    return problems


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    """A secret alone, or while it rotates, the new one and the former one."""
    return (value,) if isinstance(value, str) else (*value,)
