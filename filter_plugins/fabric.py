"""Pure functions for the playbooks: from an inventory, in any form, to what the roles take."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from ansible.vars.hostvars import HostVars, HostVarsVars

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.problems import (
    Problem,
    Values,
    address_problems,
    host_problems,
    lines,
    name_problems,
    subscriptions,
)
from plugin_utils.secrets import secret_problems
from plugin_utils.settings import SENSITIVE, TYPES, bound
from plugin_utils.x509 import authority_problem, key_problem, read_chain

from selvage.fields import Fields, Invalid

Settings = Mapping[str, Values]

GROUPS = ("zookeeper", "redis", "services", "edge", "controller")
OWN_AUTHORITY = ("fabric_ca_certificate", "fabric_ca_key")
SSH_PORTS = ("ansible_port", "node_ssh_port")


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
    each, and without any `members`, `sidecars`, `ensemble`, `redis`, `controllers`, the fabric's
    `name`, the host of its CA as `authority`, and `hosts` by name. It has no secret: those are
    judged alone.
    """
    try:
        group = _fabric_of(hostvars, groups, hosts, settings)
        members = sorted(groups[group])
        variables = {host: _variables(hostvars, host) for host in members}
        names = {tier: _agreed(variables, f"fabric_{tier}_group", settings) for tier in GROUPS}
        for name in ("fabric_group", "fabric_serial", "fabric_ca_host"):
            _agreed(variables, name, settings)
    except Invalid as problem:
        return {"problems": [str(problem)]}
    tiers = {tier: {*groups.get(name, [])} & {*members} for tier, name in names.items()}
    problems = name_problems(members)
    values = {host: _values(host, variables[host], settings, instead, problems) for host in members}
    for host in {*members}.difference(host for host, _ in problems):
        problems += [(host, text) for text in host_problems(values[host], _tiers(host, tiers))]
    problems += address_problems(values)
    authority = _authority(values, tiers["controller"], problems)
    used = {tier for tier, some in {**tiers, "certificates": authority}.items() if some}
    refused = {(host, text.partition(":")[0]) for host, text in problems}
    problems += [
        (host, text)
        for host, text in secret_problems(values, _secrets(settings, used))
        if (host, text.partition(":")[0]) not in refused
    ]
    problems += _own_authority(values)
    ensemble = _ensemble(sorted(tiers["zookeeper"]), variables, values, problems)
    if problems:
        return {"problems": lines(problems)}
    clients = [f"{member['address']}:2181" for member in ensemble]
    sidecars = [host for host in members if host in tiers["services"] | tiers["edge"]]
    without = [host for host in sidecars if not (values[host]["fabric_zookeeper_hosts"] or clients)]
    if without:
        text = (
            f"no host of {group} is in the group {names['zookeeper']}: put its members there, or"
            " set fabric_zookeeper_hosts to those of a ZooKeeper of your own"
        )
        return {"problems": lines([(host, text) for host in without])}
    nodes = {host: {"name": host, "address": values[host]["fabric_address"]} for host in members}
    return {
        "problems": [],
        "members": [*nodes.values()],
        "sidecars": [nodes[host] for host in sidecars],
        "ensemble": ensemble,
        "redis": [nodes[host] for host in sorted(tiers["redis"])],
        "controllers": [nodes[host]["address"] for host in sorted(tiers["controller"])],
        "name": group,
        "authority": authority,
        "hosts": {
            host: _resolved(host, values[host], _tiers(host, tiers), ensemble, clients, authority)
            for host in members
        },
    }


def _secrets(settings: Settings, used: set[str]) -> dict[str, list[str]]:
    """What is one for the whole fabric and never told, with what in this fabric needs it."""
    return {
        name: [tier for tier in (setting.get("needed_by"),) if tier in used]
        for name, setting in settings.items()
        if setting["type"] in (*SENSITIVE, "authority")
    }


def _authority(
    values: Mapping[str, Values], controllers: set[str], problems: list[Problem]
) -> str | None:
    """The host with the key of the fabric's CA; none where no host has a certificate."""
    wanting = sorted(host for host, mine in values.items() if mine["fabric_certificates"])
    if not wanting:
        return None
    named: str | None = next(iter(values.values()))["fabric_ca_host"]
    if named is None and len(controllers) == 1:
        return next(iter(controllers))
    if named is None:
        text = (
            f"fabric_ca_host: is missing, {len(controllers)} hosts are controllers, so name the one"
            " that has the key of the CA, and never another one"
        )
        problems += [(host, text) for host in wanting]
    elif named not in values:
        text = f"fabric_ca_host: {named} is no host of this fabric"
        problems += [(host, text) for host in values]
    return named


def _own_authority(values: Mapping[str, Values]) -> list[Problem]:
    """What is wrong with a CA that the inventory brings."""
    host, mine = next(iter(values.items()))
    certificate, key = mine["fabric_ca_certificate"], mine["fabric_ca_key"]
    passphrase = mine["fabric_ca_passphrase"]
    given = [name for name in OWN_AUTHORITY if mine[name] is not None]
    if not given:
        return []
    if None in (certificate, key, passphrase):
        words = "a CA of your own takes fabric_ca_certificate, fabric_ca_key, fabric_ca_passphrase"
        return [(host, f"{given[0]}: {words}")]
    chain = read_chain(certificate)
    problem = authority_problem(chain, datetime.now(UTC))
    if problem is not None:
        return [(host, f"fabric_ca_certificate: {problem}")]
    problem = key_problem(key, passphrase, chain[0])
    return [] if problem is None else [(host, f"fabric_ca_key: {problem}")]


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


def _given(variables: Values, name: str, told: bool = True) -> object:
    """What the inventory says of a host; null counts as nothing, as templates leave it behind."""
    try:
        return _plain(variables.get(name))
    except Exception as problem:  # a template may fail in any way
        # Ansible's own words have the text that failed.
        why = " ".join(str(problem).split()) if told else "it cannot be read: is the vault open?"
        raise Invalid(f"{name}: {why}") from None


def _setting(variables: Values, name: str, settings: Settings) -> object:
    value = _given(variables, name, told=settings[name]["type"] not in SENSITIVE)
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


def _tiers(host: str, tiers: Mapping[str, set[str]]) -> set[str]:
    return {tier for tier, hosts in tiers.items() if host in hosts}


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


def _resolved(
    host: str,
    values: Values,
    tiers: set[str],
    ensemble: list[dict[str, Any]],
    clients: list[str],
    authority: str | None,
) -> dict[str, Any]:
    """What the plays hand to the roles of one host. A host of several tiers has the union."""
    sidecar = bool(tiers & {"services", "edge"})
    is_member = "zookeeper" in tiers
    tuned = (["zookeeper"] if is_member else []) + (["cache"] if "redis" in tiers else [])
    tuned += ["proxy"] if sidecar or not tuned else []
    quorum = [member["address"] for member in ensemble]
    rules = [
        {"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"},
        {"name": "ZooKeeper's quorum and elections", "ports": [2888, 3888], "from": quorum},
    ]
    redis = [values["redis_port"], values["redis_sentinel_port"]]
    data = [
        {"name": "Redis and Sentinel", "ports": [int(port) for port in redis], "from": "fabric"}
    ]
    instances = values["fabric_instances"]
    # Those of the firewall's rules the role adds by itself.
    reserved = {int(port) for port in values["node_reserved_ports"]}
    if sidecar:
        reserved.add(bound(values["haproxy_stats_bind"]))
        reserved.update(int(service["port"]) for service in subscriptions(values))
    return {
        "groups": sorted(
            {
                "__fabric_members",
                *(f"__fabric_{tier}" for tier in tiers),
                *(["__fabric_sidecars"] if sidecar else []),
                *(["__fabric_certified"] if authority else []),
                *(["__fabric_authority"] if authority == host else []),
            }
        ),
        "address": values["fabric_address"],
        "networks": values["fabric_networks"],
        "control_addresses": values["fabric_control_addresses"],
        "profiles": tuned if values["fabric_profiles"] is None else values["fabric_profiles"],
        "firewall": [
            *(rules if is_member else []),
            *(data if "redis" in tiers else []),
            *values["fabric_extra_firewall"],
            *instance_rules(instances),
        ],
        "batches": values["fabric_serial"],
        "reserved_ports": sorted(reserved),
        "zone": values["fabric_zone"],
        "zookeeper_hosts": values["fabric_zookeeper_hosts"] or clients,
        "catalogue": [service["name"] for service in values["fabric_services"] or []],
        "services": subscriptions(values),
        "instances": in_zone(instances, values["fabric_zone"]),
        "instance_units": values["fabric_instance_units"],
        "certificates": [
            certificate(entry, host, values["fabric_address"])
            for entry in values["fabric_certificates"]
        ],
        "redis_port": int(values["redis_port"]),
        "redis_sentinel_port": int(values["redis_sentinel_port"]),
    }


def certificate(entry: Values, host: str, address: str) -> dict[str, Any]:
    """What role certificates takes: a host's own name and address come first."""
    return {
        **{key: value for key, value in entry.items() if value is not None},
        "names": [host, *(entry.get("names") or [])],
        "addresses": [address, *(entry.get("addresses") or [])],
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


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"fabric_map": fabric_map}
