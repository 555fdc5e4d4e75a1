"""Filters of role nginx."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.nginx import Site, input_problems, parse_sites
from plugin_utils.x509 import day, expiry, public_key, read_chain

# The result of an Ansible task for one item.
Result = Mapping[str, Any]
# In a terminal and in its log, which has the process, too. After five attempts it gives up a port.
_EMERGENCY = re.compile(r"\[emerg\] (?:[0-9]+#[0-9]+: )?+(?!still could not)(.*)")


def nginx_files(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The certificates that stand on the host already, each with its key and its sites."""
    found: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        tls = site["tls"]
        if tls is not None and tls["certificate"] is not None:
            found.setdefault((tls["certificate"], tls["key"]), []).append(site["name"])
    return [
        {"certificate": certificate, "key": key, "sites": names}
        for (certificate, key), names in sorted(found.items())
    ]


def nginx_certificate_problems(
    files: Iterable[Mapping[str, Any]],
    certificates: Iterable[Result],
    keys: Iterable[Result],
    now: datetime | None = None,
) -> list[str]:
    """What is wrong with certificates that an operator brought, a line each.

    `certificates` are the results of slurp, and `keys` those of `openssl pkey -pubout`.
    """
    problems = []
    for file, certificate, key in zip(files, certificates, keys, strict=True):
        where = f"site {', '.join(file['sites'])}: {file['certificate']}"
        problem = _certificate_problem(file, certificate, key, now or datetime.now(UTC))
        if problem:
            problems.append(f"{where} {problem}")
    return problems


def _certificate_problem(
    file: Mapping[str, Any], certificate: Result, key: Result, now: datetime
) -> str:
    if certificate.get("content") is None:
        return "is not there: put it on the host, or take `certificate` and `key` out"
    try:
        chain = read_chain(base64.b64decode(certificate["content"]).decode("ascii", "replace"))
    except ValueError as problem:
        return f"is no certificate in PEM: {problem}; bring the right file"
    end = expiry(chain)
    if end <= now:
        return f"expired on {day(end)}: renew it"
    if chain[0].not_valid_before_utc > now:
        return f"is not valid before {day(chain[0].not_valid_before_utc)}: bring one that is"
    if key["rc"] != 0:
        return f"has no key in {file['key']}: bring it there, in PEM and without a passphrase"
    if public_key(chain[0]).split() != key["stdout"].split():
        return f"does not fit its key {file['key']}: bring the one that it was made with"
    return ""


def nginx_refusal(said: Iterable[str], sites: Iterable[Site], defaults: Mapping[str, str]) -> str:
    """Nginx's own words in one line, with the site that they are about.

    `said` is what was heard of it, the nearest source first.
    """
    heard = [text for text in said if text.strip()]
    found = [words for text in heard for words in _EMERGENCY.findall(text)[-1:]]
    words = re.sub(r"\S*/(sites/|nginx\.conf)", r"\1", (found or heard or ["it says nothing"])[0])
    named = re.findall(r"\bsites/([a-z0-9-]+)\.conf:", words)
    if not named:
        # Of a certificate it tells the file alone.
        named = [
            site["name"]
            for site in sites
            if site["tls"] is not None
            and any(
                f'"{site["tls"][part] or default}"' in words for part, default in defaults.items()
            )
        ]
    who = f"site {', '.join(named)}: " if named else ""
    return f"{who}{' '.join(words.split())}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "nginx_certificate_problems": nginx_certificate_problems,
            "nginx_files": nginx_files,
            "nginx_parsed": parse_sites,
            "nginx_problems": input_problems,
            "nginx_refusal": nginx_refusal,
        }
