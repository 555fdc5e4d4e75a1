"""Pure functions for the playbooks: from an inventory, in any form, to what the roles take."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

from ansible.vars.hostvars import HostVars, HostVarsVars

# The daemons' own code judges what they will read, and role node's what the firewall will. It needs
# no Ansible, and Ansible's search path for module_utils serves modules alone.
sys.path += [str(Path(__file__).parents[1] / "module_utils"), str(Path(__file__).parent)]

from node import check_rules
from selvage.catalogue import SERVICE_NAME, parse_services
from selvage.fields import Fields, Invalid
from selvage.registrar import settings as registrar
from selvage.registry.settings import parse_settings

Values = Mapping[str, Any]
Settings = Mapping[str, Values]
# A host and what is wrong with it.
Problem = tuple[str, str]

GROUPS = ("zookeeper", "services", "edge", "controller")
ZOOKEEPER_PORTS = (2181, 2888, 3888)
SSH_PORTS = ("ansible_port", "node_ssh_port")
PROFILES = ("proxy", "zookeeper", "database", "cache")


def fabric_map(
    hostvars: Mapping[str, Values],
    groups: Mapping[str, list[str]],
    hosts: Iterable[str],
    settings: Settings,
    instead: Mapping[str, str],
) -> dict[str, Any]:
    """The fabric of a run: who is in it, and every host's settings, those outside `--limit` too.

    `hosts` are those of the run; one of them has to be in a fabric, and all of them in the same.
    `settings` and `instead` are playbooks/vars/fabric.yml. The result has `problems`, one line
    each, and without any `members`, `sidecars`, `ensemble`, `controllers`, and `hosts` by name.
    """
    try:
        group = _fabric_of(hostvars, groups, hosts, settings)
        members = sorted(groups[group])
        variables = {host: _variables(hostvars, host) for host in members}
        names = {tier: _agreed(variables, f"fabric_{tier}_group", settings) for tier in GROUPS}
        for name in ("fabric_group", "fabric_serial"):
            _agreed(variables, name, settings)
    except Invalid as problem:
        return {"problems": [str(problem)]}
    tiers = {tier: {*groups.get(name, [])} & {*members} for tier, name in names.items()}
    problems = _name_problems(members)
    values = {host: _values(host, variables[host], settings, instead, problems) for host in members}
    for host in {*members}.difference(host for host, _ in problems):
        problems += [(host, text) for text in _host_problems(values[host], _tiers(host, tiers))]
    problems += _address_problems(values)
    ensemble = _ensemble(sorted(tiers["zookeeper"]), variables, values, problems)
    if problems:
        return {"problems": _lines(problems)}
    clients = [f"{member['address']}:2181" for member in ensemble]
    sidecars = [host for host in members if host in tiers["services"] | tiers["edge"]]
    without = [host for host in sidecars if not (values[host]["fabric_zookeeper_hosts"] or clients)]
    if without:
        text = (
            f"no host of {group} is in the group {names['zookeeper']}: put its members there, or"
            " set fabric_zookeeper_hosts to those of a ZooKeeper of your own"
        )
        return {"problems": _lines([(host, text) for host in without])}
    nodes = {host: {"name": host, "address": values[host]["fabric_address"]} for host in members}
    return {
        "problems": [],
        "members": [*nodes.values()],
        "sidecars": [nodes[host] for host in sidecars],
        "ensemble": ensemble,
        "controllers": [nodes[host]["address"] for host in sorted(tiers["controller"])],
        "hosts": {
            host: _resolved(values[host], _tiers(host, tiers), ensemble, clients)
            for host in members
        },
    }


def _variables(hostvars: Mapping[str, Values], host: str) -> Values:
    """A host's variables, whose templates may ask for other hosts' as they may in a play."""
    if not isinstance(hostvars, HostVars):
        return hostvars[host]
    # What `hostvars[host]` gives knows no `hostvars`.
    known = {**hostvars.raw_get(host), "hostvars": hostvars}
    variables: Values = HostVarsVars(known, loader=hostvars._loader, host=host)
    return variables


def _fabric_of(
    hostvars: Mapping[str, Values],
    groups: Mapping[str, list[str]],
    hosts: Iterable[str],
    settings: Settings,
) -> str:
    """The group whose hosts are the fabric of this run."""
    known = {*groups["all"]}  # without the implicit localhost
    named = {
        host: str(_setting(_variables(hostvars, host), "fabric_group", settings))
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


def _agreed(variables: Mapping[str, Values], name: str, settings: Settings) -> str:
    """A setting that is one for the whole fabric."""
    said = {str(_setting(mine, name, settings)): host for host, mine in variables.items()}
    if len(said) > 1:
        (one, first), (other, second) = sorted(said.items())[:2]
        raise Invalid(
            f"{name}: {one} for {first}, {other} for {second}; set it for the whole fabric"
        )
    return next(iter(said))


def _given(variables: Values, name: str) -> object:
    """What the inventory says of a host; null counts as nothing, as templates leave it behind."""
    try:
        return _plain(variables.get(name))
    except Exception as problem:  # a template may fail in any way
        raise Invalid(f"{name}: {' '.join(str(problem).split())}") from None


def _setting(variables: Values, name: str, settings: Settings) -> object:
    value = _given(variables, name)
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


def _values(
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
                value = _given(variables, setting["default_from"]) or _as_address(host)
            if value is not None:
                TYPES[setting["type"]](value, name)
            elif "required" in setting:
                raise Invalid(f"{name}: {setting['required']}")
            values[name] = value
        except Invalid as problem:
            problems.append((host, str(problem)))
    for name in SSH_PORTS:
        try:
            given = {name: _given(variables, name)}
            Fields(given, "").integer(name, 1, 65535, 22)
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


def _as_address(host: str) -> str | None:
    """Where Ansible looks for a host that is named by its address."""
    try:
        return str(IPv4Address(host))
    except ValueError:
        return None


def _name_problems(members: Sequence[str]) -> list[Problem]:
    """What no file takes as a host's name, or does not tell from another one's."""
    problems = [
        (
            repr(host),
            "a host's name in the inventory has letters, digits, dots, - and _, and begins with a"
            " letter or digit: rename it",
        )
        for host in members
        if re.fullmatch(registrar.NODE, host) is None
    ]
    first: dict[str, str] = {}
    for host in members:
        other = first.setdefault(host.lower(), host)
        if other != host:
            text = f"its name and {other} differ by capitals alone, which nobody heeds: rename it"
            problems.append((host, text))
    return problems


def _address_problems(values: Mapping[str, Values]) -> list[Problem]:
    first: dict[str, str] = {}
    return [
        (host, f"fabric_address: {other} has {mine['fabric_address']} too")
        for host, mine in values.items()
        if mine["fabric_address"] is not None
        and (other := first.setdefault(mine["fabric_address"], host)) != host
    ]


def _address(value: object, name: str) -> None:
    try:
        IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise Invalid(
            f"{name}: expected the host's IPv4 address in the fabric, got {value!r:.80}"
        ) from None


def _networks(value: object, name: str) -> None:
    expected = "an address or a network, such as 192.0.2.0/24"
    fields = Fields({name: value}, "")
    for index, text in enumerate(fields.texts(name, r"[0-9A-Fa-f:./]{2,64}", expected)):
        try:
            ip_network(text)
        except ValueError as problem:
            raise fields.fail(f"{name}[{index}]", f"expected {expected}: {problem}") from None


def _bind(value: object, name: str) -> None:
    expected = "an address and a port, such as 127.0.0.1:8404"
    text = Fields({name: value}, "").text(name, r"\S*:[0-9]+(\s.*)?", expected)
    Fields({name: _bound(text)}, "").integer(name, 1, 65535)


def _bound(text: str) -> int:
    """The port of an address, which HAProxy's options may follow."""
    return int(text.split()[0].rpartition(":")[2])


def _ports(value: object, name: str) -> None:
    Fields({name: value}, "").integers(name, 1, 65535)


def _instances(value: object, name: str) -> None:
    # As the registrar will read them; what is the node's own stands elsewhere, and is judged there.
    document = {"registry": {"hosts": ["127.0.0.1"]}, "node": "node", "address": "192.0.2.1"}
    try:
        registrar.parse({**document, "instances": value})
    except Invalid as problem:
        raise Invalid(re.sub("^instances", name, str(problem))) from None


def _zookeeper(value: object, name: str) -> None:
    try:
        parse_settings(Fields({"hosts": value}, ""))
    except Invalid as problem:
        raise Invalid(re.sub("^hosts", name, str(problem))) from None


def _batches(value: object, name: str) -> None:
    # What play keyword `serial` takes; the last batch size is that of all that follow.
    for size in value if isinstance(value, list) and value else [value]:
        if not re.fullmatch(r"[1-9][0-9]{0,3}|([1-9][0-9]?|100)%", str(size)):
            raise Invalid(
                f"{name}: expected a number of hosts, a share such as 25%, or a list of these,"
                f" got {size!r:.80}"
            )


def _text(pattern: str, expected: str) -> Callable[[object, str], object]:
    return lambda value, name: Fields({name: value}, "").text(name, pattern, expected)


def _texts(pattern: str, expected: str) -> Callable[[object, str], object]:
    return lambda value, name: Fields({name: value}, "").texts(name, pattern, expected)


TYPES: Mapping[str, Callable[[object, str], object]] = {
    "address": _address,
    "batches": _batches,
    "bind": _bind,
    "catalogue": parse_services,
    "firewall": check_rules,
    "group": _text(r"\S{1,250}", "the name of a group"),
    "instances": _instances,
    "networks": _networks,
    "ports": _ports,
    "profiles": _texts("|".join(PROFILES), f"one of {', '.join(PROFILES)}"),
    "services": _texts(SERVICE_NAME, "a service's name"),
    "units": _texts(r"[A-Za-z0-9:_.\\@-]+\.[a-z]+", "a systemd unit such as inventory.service"),
    "zone": _text(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})?", "a word such as eu-1"),
    "zookeeper": _zookeeper,
}


def _tiers(host: str, tiers: Mapping[str, set[str]]) -> set[str]:
    return {tier for tier, hosts in tiers.items() if host in hosts}


def _host_problems(values: Values, tiers: set[str]) -> list[str]:
    """What each setting for itself does not show."""
    problems = []
    sidecar = tiers & {"services", "edge"}
    known = [service["name"] for service in values["fabric_services"] or []]
    if sidecar and values["fabric_services"] is None:
        problems.append("fabric_services: set the catalogue; an empty list is one without services")
    instances = values["fabric_instances"]
    named = [("haproxy_services", name) for name in values["haproxy_services"] or []]
    named += [("fabric_instances", instance["service"]) for instance in instances]
    if sidecar and values["fabric_services"] is not None:
        problems += [
            f"{place}: {name!r:.80} is not in fabric_services,"
            f" which has: {', '.join(sorted(known)) or 'nothing'}"
            for place, name in named
            if name not in known
        ]
    if instances and "services" not in tiers:
        problems.append(
            f"fabric_instances: nothing announces them here; only the hosts of the group"
            f" {values['fabric_services_group']} announce instances"
        )
    return problems + _port_problems(values, tiers)


def _port_problems(values: Values, tiers: set[str]) -> list[str]:
    """Ports that two programs of one host would listen on.

    An instance may be on one address alone, but mostly is on all, the sidecar's 127.0.0.1 too.
    """
    taken = dict.fromkeys(ZOOKEEPER_PORTS if "zookeeper" in tiers else (), "ZooKeeper")
    problems = []

    def need(place: str, name: str, port: int, owner: str) -> None:
        if port in taken:
            problems.append(
                f"{place}: {name} has port {port}, which {taken[port]} needs on this host"
            )
        elif owner:
            taken[port] = owner

    if tiers & {"services", "edge"}:
        page = "HAProxy's statistics page"
        need("haproxy_stats_bind", page, _bound(values["haproxy_stats_bind"]), page)
        for service in _subscriptions(values):
            name = service["name"]
            need("fabric_services", name, int(service["port"]), f"the sidecar for {name}")
    for instance in values["fabric_instances"]:
        need("fabric_instances", instance["service"], int(instance["port"]), "")
    return problems


def _subscriptions(values: Values) -> list[dict[str, Any]]:
    """The part of the catalogue that a host carries: all of it, unless it names some."""
    names = values["haproxy_services"]
    services: list[dict[str, Any]] = values["fabric_services"] or []
    return [service for service in services if names is None or service["name"] in names]


def _ensemble(
    hosts: list[str],
    variables: Mapping[str, Values],
    values: Mapping[str, Values],
    problems: list[Problem],
) -> list[dict[str, Any]]:
    """ZooKeeper's members by id: their order is the same however the inventory lists them."""
    members: dict[int, dict[str, Any]] = {}
    for host in hosts:
        try:
            given = {"zookeeper_id": _given(variables[host], "zookeeper_id")}
            number = Fields(given, "").integer("zookeeper_id", 1, 255)
        except Invalid as problem:
            problems.append((host, f"{problem}: give each member one, and never change it"))
            continue
        if number in members:
            problems.append((host, f"zookeeper_id: {members[number]['name']} has {number} too"))
        members[number] = {
            "name": host,
            "address": values[host]["fabric_address"],
            "id": number,
        }
    return [members[number] for number in sorted(members)]


def _lines(problems: Iterable[Problem]) -> list[str]:
    """One line for what is wrong with several hosts in the same way."""
    hosts: dict[str, list[str]] = {}
    for host, text in sorted(problems):
        hosts.setdefault(text, []).append(host)
    return [
        f"{', '.join(some[:3])}{f' and {len(some) - 3} more' if some[3:] else ''}: {text}"
        for text, some in hosts.items()
    ]


def _resolved(
    values: Values,
    tiers: set[str],
    ensemble: list[dict[str, Any]],
    clients: list[str],
) -> dict[str, Any]:
    """What the plays hand to the roles of one host. A host of several tiers has the union."""
    sidecar = bool(tiers & {"services", "edge"})
    is_member = "zookeeper" in tiers
    tuned = (["zookeeper"] if is_member else []) + (["proxy"] if sidecar or not is_member else [])
    quorum = [member["address"] for member in ensemble]
    rules = [
        {"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"},
        {"name": "ZooKeeper's quorum and elections", "ports": [2888, 3888], "from": quorum},
    ]
    instances = values["fabric_instances"]
    # Those of the firewall's rules the role adds by itself.
    reserved = {int(port) for port in values["node_reserved_ports"]}
    if sidecar:
        reserved.add(_bound(values["haproxy_stats_bind"]))
        reserved.update(int(service["port"]) for service in _subscriptions(values))
    return {
        "groups": sorted(
            {
                "__fabric_members",
                *(f"__fabric_{tier}" for tier in tiers),
                *(["__fabric_sidecars"] if sidecar else []),
            }
        ),
        "address": values["fabric_address"],
        "networks": values["fabric_networks"],
        "control_addresses": values["fabric_control_addresses"],
        "profiles": tuned if values["fabric_profiles"] is None else values["fabric_profiles"],
        "firewall": [
            *(rules if is_member else []),
            *values["fabric_extra_firewall"],
            *instance_rules(instances),
        ],
        "batches": values["fabric_serial"],
        "reserved_ports": sorted(reserved),
        "zone": values["fabric_zone"],
        "zookeeper_hosts": values["fabric_zookeeper_hosts"] or clients,
        "catalogue": [service["name"] for service in values["fabric_services"] or []],
        "services": _subscriptions(values),
        "instances": in_zone(instances, values["fabric_zone"]),
        "instance_units": values["fabric_instance_units"],
    }


def instance_rules(instances: Iterable[Values]) -> list[dict[str, Any]]:
    """The firewall rules that open announced instances to the members of the fabric."""
    return [
        {"name": instance["service"], "port": int(instance["port"]), "from": "fabric"}
        for instance in instances
    ]


def in_zone(instances: Iterable[Values], zone: str) -> list[dict[str, Any]]:
    """The instances, sorted, with the label `zone` where they set none; an empty zone is none."""
    labels = {"zone": zone} if zone else {}
    return [
        {**instance, "labels": labels | (instance.get("labels") or {})}
        for instance in sorted(instances, key=lambda item: (item["service"], int(item["port"])))
    ]


def maintenance_problem(request: Values, known: Sequence[str]) -> str:
    """What is wrong with the input of playbooks/maintenance.yml, in one line; empty if nothing.

    The nodes judge it as well, and more closely, each for itself.
    """
    for name, pattern, expected in (
        ("service", "|".join(map(re.escape, known)), f"one of {', '.join(known)}"),
        (
            "server",
            r"(\[[0-9A-Fa-f:.]+\]|[0-9]+(\.[0-9]+){3}):[0-9]+",
            "ADDRESS:PORT, such as 198.18.0.21:8080",
        ),
        ("state", "maint|ready", "maint or ready"),
        ("reason", ".{1,200}", "one line for whoever comes next"),
        ("for", "[0-9]+(ms|s|m|h)", "a duration, such as 2h"),
    ):
        value = str(request[name])
        needed = name not in ("reason", "for") or request["state"] != "ready"
        if needed and re.fullmatch(pattern, value) is None:
            return f"-e {name}=: expected {expected}, got {value!r:.80}"
    return ""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"fabric_map": fabric_map, "maintenance_problem": maintenance_problem}
