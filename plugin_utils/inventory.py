"""What an inventory says of each host, in any form: settings by name, and what cannot be taken."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

from ansible.vars.hostvars import HostVars, HostVarsVars

from plugin_utils.settings import SENSITIVE, TYPES, Problem, Values
from selvage.fields import Fields, Invalid

Settings = Mapping[str, Values]

SSH_PORTS = ("ansible_port", "node_ssh_port")


def fabric_of(
    hostvars: Mapping[str, Values],
    groups: Mapping[str, list[str]],
    hosts: Iterable[str],
    settings: Settings,
) -> str:
    """The group whose hosts are the fabric of this run."""
    known = {*groups["all"]}  # without the implicit localhost
    named = {
        host: str(_setting(variables_of(hostvars, host), "fabric_group", settings))
        for host in hosts
        if host in known
    }
    found = sorted({group for host, group in named.items() if host in groups.get(group, [])})
    if not found:
        looked = ", ".join(sorted({*named.values()})) or settings["fabric_group"]["default"]
        raise Invalid(
            f"no host of this run is in the group {looked}: put the fabric's hosts there, or name"
            " their group: fabric_group (docs/variables.md)"
        )
    if len(found) > 1:
        raise Invalid(
            f"{' and '.join(found)} are fabrics of their own, and a run is for one:"
            f" choose it, such as with -e fabric_group={found[0]}"
        )
    return found[0]


def agreed(variables: Mapping[str, Values], name: str, settings: Settings) -> str:
    """A setting that is one for the whole fabric."""
    said = {str(_setting(mine, name, settings)): host for host, mine in variables.items()}
    if len(said) > 1:
        (one, first), (other, second) = sorted(said.items())[:2]
        raise Invalid(
            f"{name}: {one} for {first}, {other} for {second}; set it for the whole fabric"
        )
    return next(iter(said))


def values_of(
    host: str,
    variables: Values,
    settings: Settings,
    instead: Mapping[str, str],
    problems: list[Problem],
) -> dict[str, Any]:
    """A host's settings by name; what cannot be taken is a problem, and its default is there."""
    values: dict[str, Any] = {}
    for name, setting in settings.items():
        values[name] = setting.get("default")
        try:
            value = _setting(variables, name, settings)
            if value is None and "default_from" in setting:
                value = given(variables, setting["default_from"]) or _as_address(host)
            if value is not None:
                TYPES[setting["type"]](value, name)
            elif "required" in setting:
                raise Invalid(f"{name}: {setting['required']}")
            values[name] = value
        except Invalid as problem:
            problems.append((host, str(problem)))
    for name in SSH_PORTS:
        try:
            Fields({name: given(variables, name)}, "").integer(name, 1, 65535, 22)
        except Invalid as problem:
            problems.append((host, str(problem)))
    for name in variables:
        if name in instead:
            problems.append((host, f"{name} has no effect here: set {instead[name]} instead"))
        elif name.startswith("fabric_") and name not in settings:
            close = difflib.get_close_matches(name, settings, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else "docs/variables.md lists all"
            problems.append((host, f"{name} is no variable of the fabric, {hint}"))
    return values


def variables_of(hostvars: Mapping[str, Values], host: str) -> Values:
    """A host's variables, whose templates may ask for other hosts' as they may in a play."""
    if not isinstance(hostvars, HostVars):
        return hostvars[host]
    # What `hostvars[host]` gives knows no `hostvars`.
    known = {**hostvars.raw_get(host), "hostvars": hostvars}
    variables: Values = HostVarsVars(known, loader=hostvars._loader, host=host)
    return variables


def given(variables: Values, name: str, told: bool = True) -> object:
    """What the inventory says of a host; null counts as nothing, as templates leave it behind."""
    try:
        return _plain(variables.get(name))
    except Exception as problem:  # a template may fail in any way
        # Ansible's own words have the text that failed.
        why = " ".join(str(problem).split()) if told else "it cannot be read: is the vault open?"
        raise Invalid(f"{name}: {why}") from None


def _setting(variables: Values, name: str, settings: Settings) -> object:
    value = given(variables, name, told=settings[name]["type"] not in SENSITIVE)
    return settings[name].get("default") if value is None else value


def _plain(value: object) -> object:
    """Values as YAML has them, without what Ansible knows of their origin."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value if value is None else str(value)


def _as_address(host: str) -> str | None:
    """Where Ansible looks for a host that is named by its address."""
    try:
        return str(IPv4Address(host))
    except ValueError:
        return None
