#!/usr/bin/python
"""The Ansible module: one file below /etc/sysctl.d, and the kernel's values equal to it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.system import files

DOCUMENTATION = r"""
---
module: sysctl_file
short_description: Keep a sysctl.d file and the kernel's values equal to it
description:
  - Sets each key in the running kernel, then writes the whole file, so that a boot gives the same.
  - When the kernel refuses a key or a value, the keys that were set before get their former values
    back, the file stays as it was, and the module fails with the names of the refused keys.
  - Files of C(sysctl.d(5)) that sort after this one win at each boot. One that gives a key another
    value is refused by name, as boots and runs would take it from each other.
  - In a container many keys belong to its host. With O(container) these are written to the file and
    returned in RV(not_settable) instead of failing.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nothing is set or written. A key whose folder is missing counts as settable, since
      the kernel module that brings it may not have been loaded either.
  diff_mode:
    support: full
    description: The file, and the kernel's values.
options:
  path:
    description: The file, which belongs to this module as a whole.
    type: path
    required: true
  values:
    description:
      - Keys and their values, as in C(sysctl.d(5)). A value is a number or a string.
    type: dict
    required: true
  at_least:
    description:
      - Keys of O(values) that are never lowered. Where the kernel already allows more, it keeps
        what it has, and the key is left out of the file. A later file may raise them.
    type: list
    elements: str
    default: []
  container:
    description: Whether this is a container, where keys may belong to its host.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Tune a proxy
  sysctl_file:
    path: /etc/sysctl.d/90-selvage.conf
    values:
      net.core.somaxconn: 4096
      net.ipv4.ip_local_port_range: 15000 65000
      fs.file-max: 2097152
    at_least: [fs.file-max]
"""

RETURN = r"""
set:
  description: The keys whose value in the kernel changed, or would change.
  returned: success
  type: list
  elements: str
  sample: [net.core.somaxconn]
not_settable:
  description: The keys that cannot be set in this container, with the reason.
  returned: success
  type: dict
  sample: {vm.swappiness: Read-only file system}
"""

PROC = Path("/proc/sys")
# What systemd-sysctl reads; of files with the same name the first one counts.
FOLDERS = [
    Path(folder)
    for folder in (
        "/etc/sysctl.d",
        "/run/sysctl.d",
        "/usr/local/lib/sysctl.d",
        "/usr/lib/sysctl.d",
    )
]
HEADER = "# Written by Ansible, role node: put your own values into node_sysctl.\n"
HOSTS_BUSINESS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)


# Where and what a boot sets, by the key's location.
Later = Mapping[str, tuple[Path, str]]


class Refused(Exception):
    """Keys or values that are wrong; the message is one line for the operator."""


@dataclass
class Outcome:
    """What was done, or would be done in check mode."""

    text: str
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    not_settable: dict[str, str] = field(default_factory=dict)


def location(key: str) -> Path:
    """Where a key lives below /proc/sys.

    The first separator decides, as in sysctl.d(5): `net.ipv4.conf.eth0/1.rp_filter` and
    `net/ipv4/conf/eth0.1/rp_filter` are the same. Raises Refused.
    """
    if not re.fullmatch(r"[a-z]\w*([./][\w:@-]+)+", key):
        raise Refused(f"{key!r} is not the name of a sysctl, such as vm.swappiness")
    separator = next(character for character in key if character in "./")
    swap = str.maketrans("./", "/.") if separator == "." else {}
    return Path(key.translate(swap))


def normal(value: object) -> str:
    """A value as one line with single spaces; raises ValueError when it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, (int, str)) or "\n" in str(value):
        raise ValueError(f"expected a number or one line of text, got {value!r}")
    return " ".join(str(value).split())


def same(one: str, other: str) -> bool:
    """Whether two values mean the same: the kernel joins neighbours in its lists of ports."""
    return one == other or (_ports(one) is not None and _ports(one) == _ports(other))


def _ports(text: str) -> set[int] | None:
    ports: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", item)
        if match is None:
            return None
        ports |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return ports


def wanted(
    values: Mapping[str, object],
    at_least: Sequence[str],
    previous: str,
    later: Later,
    proc: Path,
) -> dict[str, str]:
    """Every key that belongs into the file, sorted. Raises Refused.

    A key of `at_least` that already stands in the file at this very value stays there: it was
    raised by us, and the next boot needs it again.
    """
    chosen: dict[str, str] = {}
    problems: list[str] = []
    for key, value in values.items():
        location(key)
        try:
            chosen[key] = normal(value)
        except ValueError as problem:
            raise Refused(f"{key}: {problem}") from None
        problems += overruled(key, chosen[key], more=key in at_least, later=later)
        if key in at_least:
            current = read(proc / location(key)) or "0"
            ours = f"{key} = {current}\n" in previous
            if int(current) > int(chosen[key]) or (current == chosen[key] and not ours):
                del chosen[key]
    if problems:
        raise Refused("; ".join(problems))
    return dict(sorted(chosen.items()))


def read_later(ours: Path, folders: Sequence[Path]) -> Later:
    """What files that a boot reads after ours set; not by patterns, which our keys beat."""
    names: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob("*.conf"):
            names.setdefault(path.name, path)
    found = {}
    for name in sorted(name for name in names if name > ours.name):
        # Debian 12's link to /etc/sysctl.conf may outlive that.
        text = names[name].read_text(errors="replace") if names[name].exists() else ""
        for line in text.splitlines():
            key, separator, value = line.strip().partition("=")
            with contextlib.suppress(Refused):  # comments, patterns and what is no line at all
                if separator:
                    where = str(location(key.strip().removeprefix("-")))
                    found[where] = names[name], normal(value)
    return found


def overruled(key: str, value: str, *, more: bool, later: Later) -> Iterator[str]:
    """A line for a key that would be what it is to be only until the next boot."""
    path, other = later.get(str(location(key)), (None, value))
    if not (same(value, other) or (more and other.isdecimal() and int(other) >= int(value))):
        yield (
            f"{key}: {path} makes it {other} at each boot, and this would be {value} until then: "
            f"remove it there, or set it to {other} in node_sysctl"
        )


def read(path: Path) -> str | None:
    """The kernel's value, or None where there is none to read."""
    try:
        return normal(path.read_text().strip().replace("\n", " "))
    except OSError:
        return None


def put(path: Path, value: str) -> None:
    """Give the kernel a value, all at once; raises OSError, also where the key does not exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)


def settle(
    values: Mapping[str, object],
    at_least: Sequence[str],
    previous: str,
    later: Later,
    *,
    container: bool,
    check: bool,
    proc: Path = PROC,
) -> Outcome:
    """Make the kernel's values the wanted ones, or nothing at all. Raises Refused."""
    chosen = wanted(values, at_least, previous, later, proc)
    outcome = Outcome(HEADER + "".join(f"{key} = {value}\n" for key, value in chosen.items()))
    refused = []
    for key, value in chosen.items():
        path = proc / location(key)
        before = read(path)
        if before is not None and same(before, value):
            continue
        try:
            if not check:
                put(path, value)
            elif path.parent.exists() and not os.access(path, os.W_OK):
                raise OSError(errno.EROFS if path.exists() else errno.ENOENT, "")
        except OSError as problem:
            reason = os.strerror(problem.errno or 0)
            if container and problem.errno in HOSTS_BUSINESS:
                outcome.not_settable[key] = reason
            elif not path.exists():
                refused.append(f"{key}: this kernel has no such key")
            else:
                refused.append(f"{key}: the kernel refuses {value!r} ({reason})")
            continue
        after = value if check else read(path) or value
        if after != before:
            outcome.before[key] = before or ""
            outcome.after[key] = after
    if refused:
        for key, value in outcome.before.items():
            if not check:
                put(proc / location(key), value)
        raise Refused("; ".join(refused))
    return outcome


def shown(values: Mapping[str, str]) -> str:
    """Values as lines of a diff."""
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def main() -> None:
    """Read the arguments, settle, and answer."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "required": True},
            "at_least": {"type": "list", "elements": "str", "default": []},
            "container": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    path = Path(arguments["path"])
    try:
        previous = path.read_text() if path.exists() else ""
        outcome = settle(
            arguments["values"],
            arguments["at_least"],
            previous,
            read_later(path, FOLDERS),
            container=arguments["container"],
            check=module.check_mode,
        )
        if outcome.text != previous and not module.check_mode:
            # A boot must never read half of it.
            files.write(path, outcome.text, durable=True)
    except Refused as problem:
        module.fail_json(msg=f"{path} is unchanged: {problem}")
    except OSError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(
        changed=outcome.text != previous or bool(outcome.after),
        set=list(outcome.after),
        not_settable=outcome.not_settable,
        diff=[
            {
                "before_header": str(path),
                "after_header": str(path),
                "before": previous,
                "after": outcome.text,
            },
            {
                "before_header": "the kernel's values",
                "after_header": "the kernel's values",
                "before": shown(outcome.before),
                "after": shown(outcome.after),
            },
        ],
    )


if __name__ == "__main__":
    main()
