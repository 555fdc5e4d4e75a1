"""Small pure functions for role node: who is called what in /etc/hosts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

# What /etc/hosts takes as a name: underscores too, which DNS does not.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
# What cloud-init's template of /etc/hosts calls the node.
CLOUD_NAME = r"\{\{ *(fqdn|hostname) *\}\}"


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def _is_loopback(word: str) -> bool:
    return _is_address(word) and ip_address(word).is_loopback


def _short(name: str) -> str:
    return name.partition(".")[0]


def _names(members: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """What each address is called: the long name and the short one, if that is nobody else's."""
    named = {m["address"]: m["name"] for m in members if not _is_address(m["name"])}
    said = Counter(word for name in named.values() for word in {name.lower(), _short(name).lower()})
    return {
        address: [name]
        if "." not in name or said[_short(name).lower()] > 1
        else [name, _short(name)]
        for address, name in named.items()
    }


def own_names(
    members: Iterable[Mapping[str, str]], address: str, hostname: str, fqdn: str
) -> list[str]:
    """What /etc/hosts calls this node on its address in the fabric, its canonical name first.

    Its `hostname`, and what `hostname --fqdn` says, stay what they are, also where the inventory
    calls the node otherwise; the inventory's long name counts where there was none.
    """
    names = _names(members)
    mine = names.pop(address, [])
    others = {name.lower() for some in names.values() for name in some}
    system = [fqdn, hostname, _short(hostname)]
    longer = mine and "." not in fqdn and _short(mine[0]).lower() == hostname.lower()
    found: dict[str, str] = {}
    for name in [*mine, *system] if longer else [*system, *mine]:
        if re.fullmatch(NAME, name) and _short(name) != "localhost" and name.lower() not in others:
            found.setdefault(name.lower(), name)
    return [*found.values()]


def hosts_lines(
    members: Iterable[Mapping[str, str]], address: str, own: Sequence[str]
) -> list[str]:
    """A line of /etc/hosts for every member that has a name, sorted; this node's with its own."""
    names = _names(members) | ({address: [*own]} if own else {})
    return [
        " ".join([address, *names[address]])
        for address in sorted(names, key=lambda address: (names[address], address))
    ]


def without_names(text: str, names: Iterable[str]) -> str:
    """A text of /etc/hosts, or of cloud-init's template for it, that has no own name on loopback.

    Debian's installer and cloud-init put it there, where nobody else reaches what listens on it.
    """
    own = {name.lower() for name in names}
    lines = []
    for line in text.splitlines(keepends=True):
        entry, mark, comment = line.partition("#")
        first, *words = re.findall(r"\{\{.*?\}\}|\S+", entry) or [""]
        kept = [w for w in words if w.lower() not in own and not re.fullmatch(CLOUD_NAME, w)]
        if not _is_loopback(first) or kept == words:
            lines.append(line)
        elif kept:
            lines.append(" ".join([first, *kept]) + (f" {mark}{comment}" if mark else "\n"))
    return "".join(lines)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "hosts_lines": hosts_lines,
            "own_names": own_names,
            "without_names": without_names,
        }
