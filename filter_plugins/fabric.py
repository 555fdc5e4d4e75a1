"""Pure functions for the playbooks: from an inventory, in any form, to what the roles take."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils import data_tiers, edge_sharing, edge_tier
from plugin_utils.inventory import Settings, agreed, fabric_of, given, values_of, variables_of
from plugin_utils.problems import (
    address_problems,
    host_problems,
    lines,
    name_problems,
    subscriptions,
)
from plugin_utils.residency import residency_problem
from plugin_utils.secrets import secret_problems
from plugin_utils.settings import SENSITIVE, Problem, Values, bound
from plugin_utils.x509 import authority_problem, key_problem, read_chain

from selvage.fields import Fields, Invalid

GROUPS = ("zookeeper", "redis", "mysql", "services", "edge", "controller", "backup")
# Members of these tiers have a number of their own, given once.
NUMBERED = (("zookeeper", "zookeeper_id", 255), ("mysql", "mysql_server_id", 2**32 - 1))
# Tiers with data that are backed up.
BACKED_UP = ("zookeeper", "redis", "mysql")
# Their hosts have a registrar.
ANNOUNCING = {"services", *data_tiers.TIERS}
OWN_AUTHORITY = ("fabric_ca_certificate", "fabric_ca_key")


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
    each, and without any `members`, `sidecars`, `nginx`, `ensemble`, `redis`, `mysql`,
    `edge_address`, `witnesses`, `controllers`, the fabric's `name`, the host of its CA as
    `authority`, and `hosts` by name. It has no secret: those are judged alone.
    """
    try:
        group = fabric_of(hostvars, groups, hosts, settings)
        members = sorted(groups[group])
        variables = {host: variables_of(hostvars, host) for host in members}
        names = {tier: agreed(variables, f"fabric_{tier}_group", settings) for tier in GROUPS}
        for name in ("fabric_group", "fabric_serial", "fabric_ca_host"):
            agreed(variables, name, settings)
    except Invalid as problem:
        return {"problems": [str(problem)]}
    tiers = {tier: {*groups.get(name, [])} & {*members} for tier, name in names.items()}
    tiers["backed_up"] = {host for tier in BACKED_UP for host in tiers[tier] if tiers["backup"]}
    problems = name_problems(members)
    values = {
        host: values_of(host, variables[host], settings, instead, problems) for host in members
    }
    flavour = next((values[host]["mysql_flavour"] for host in sorted(tiers["mysql"])), "mariadb")
    for mine in values.values():
        mine["fabric_services"] = _catalogue(mine["fabric_services"], tiers, flavour)
    tiers["edge_address"] = {host for host in tiers["edge"] if values[host]["edge_address_shared"]}
    tiers["nginx"] = {
        host
        for host in tiers["edge"]
        if edge_tier.serves(values[host], subscriptions(values[host]))
    }
    for host in {*members}.difference(host for host, _ in problems):
        problems += [(host, text) for text in host_problems(values[host], _tiers(host, tiers))]
    problems += address_problems(values)
    problems += data_tiers.tier_problems(tiers, values)
    problems += edge_sharing.tier_problems(tiers, values)
    wanting = {host for host, mine in values.items() if mine["fabric_certificates"]}
    wanting |= tiers["redis"] | tiers["mysql"]
    wanting |= {host for host in tiers["nginx"] if edge_tier.certificates({"nginx"}, values[host])}
    authority = _authority(sorted(wanting), values, tiers["controller"], problems)
    used = {tier for tier, some in {**tiers, "certificates": authority}.items() if some}
    # By the variable that each line begins with.
    refused = {(host, re.split(r"[:\[]", text)[0]) for host, text in problems}
    problems += [
        (host, text)
        for host, text in secret_problems(values, _secrets(settings, used))
        if (host, re.split(r"[:\[]", text)[0]) not in refused
    ]
    problems += _own_authority(values)
    for host in tiers["backup"] - {host for host, _ in problems}:
        here = values[host]
        if text := residency_problem(here["fabric_country"], here["fabric_countries"]):
            problems.append((host, text))
    numbered = {
        tier: _numbered(sorted(tiers[tier]), name, highest, variables, values, problems)
        for tier, name, highest in NUMBERED
    }
    ensemble = numbered["zookeeper"]
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
    numbered["edge_address"] = [nodes[host] for host in sorted(tiers["edge_address"])]
    return {
        "problems": [],
        "members": [*nodes.values()],
        "nginx": [nodes[host] for host in sorted(tiers["nginx"])],
        "sidecars": [nodes[host] for host in sidecars],
        "ensemble": ensemble,
        "redis": [nodes[host] for host in sorted(tiers["redis"])],
        "mysql": numbered["mysql"],
        "edge_address": numbered["edge_address"],
        "witnesses": edge_sharing.witnesses(
            [*nodes.values()], tiers["zookeeper"], tiers["edge_address"]
        ),
        "controllers": [nodes[host]["address"] for host in sorted(tiers["controller"])],
        "backup": [nodes[host] for host in sorted(tiers["backup"])],
        "backed_up": {
            tier: [nodes[host] for host in sorted(tiers[tier])] for tier in BACKED_UP if tiers[tier]
        },
        "name": group,
        "authority": authority,
        "hosts": {
            host: _resolved(host, values[host], _tiers(host, tiers), numbered, clients, authority)
            for host in members
        },
    }


def _catalogue(
    own: list[Values] | None, tiers: Mapping[str, set[str]], flavour: str
) -> list[Values] | None:
    """An inventory's catalogue with the data tiers' services, where it has none of that name."""
    if own is None:
        return None
    named = {service["name"] for service in own}
    added = data_tiers.services({tier for tier, hosts in tiers.items() if hosts}, flavour)
    return [*own, *(service for service in added if service["name"] not in named)]


def _secrets(settings: Settings, used: set[str]) -> dict[str, list[str]]:
    """What is one for the whole fabric and never told, with what in this fabric needs it."""
    return {
        name: [tier for tier in (setting.get("needed_by"),) if tier in used]
        for name, setting in settings.items()
        if setting["type"] in (*SENSITIVE, "authority")
    }


def _authority(
    wanting: list[str],
    values: Mapping[str, Values],
    controllers: set[str],
    problems: list[Problem],
) -> str | None:
    """The host with the key of the fabric's CA; none where no host is `wanting` a certificate."""
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


def _tiers(host: str, tiers: Mapping[str, set[str]]) -> set[str]:
    return {tier for tier, hosts in tiers.items() if host in hosts}


def _numbered(
    hosts: list[str],
    name: str,
    highest: int,
    variables: Mapping[str, Values],
    values: Mapping[str, Values],
    problems: list[Problem],
) -> list[dict[str, Any]]:
    """Members by the number in their variable `name`: however the inventory lists them."""
    members: dict[int, dict[str, Any]] = {}
    for host in hosts:
        try:
            number = Fields({name: given(variables[host], name)}, "").integer(name, 1, highest)
        except Invalid as problem:
            problems.append((host, f"{problem}: give each member one, and never change it"))
            continue
        if number in members:
            problems.append((host, f"{name}: {members[number]['name']} has {number} too"))
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
    numbered: Mapping[str, list[dict[str, Any]]],
    clients: list[str],
    authority: str | None,
) -> dict[str, Any]:
    """What the plays hand to the roles of one host. A host of several tiers has the union."""
    sidecar = bool(tiers & {"services", "edge"})
    is_member = "zookeeper" in tiers
    tuned = ["zookeeper"] if is_member else []
    tuned += [profile for tier, profile in data_tiers.PROFILES.items() if tier in tiers]
    tuned += ["proxy"] if sidecar or not tuned else []
    quorum, mysql = (
        [member["address"] for member in numbered[tier]] for tier in ("zookeeper", "mysql")
    )
    rules = [
        {"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"},
        {"name": "ZooKeeper's quorum and elections", "ports": [2888, 3888], "from": quorum},
    ]
    instances = values["fabric_instances"]
    # Those of the firewall's rules the role adds by itself.
    reserved = {int(port) for port in values["node_reserved_ports"]}
    if sidecar:
        reserved.add(bound(values["haproxy_stats_bind"]))
        reserved.update(int(service["port"]) for service in subscriptions(values))
    reserved.update(edge_tier.ports(tiers, values))
    return {
        "groups": sorted(
            {
                "__fabric_members",
                *(f"__fabric_{tier}" for tier in tiers),
                *(["__fabric_sidecars"] if sidecar else []),
                *(["__fabric_announcing"] if tiers & ANNOUNCING else []),
                *(["__fabric_celery"] if values["celery_applications"] is not None else []),
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
            *data_tiers.rules(tiers, values, mysql),
            *edge_sharing.rules(values["fabric_address"], numbered["edge_address"]),
            *edge_tier.rules(tiers),
            *values["fabric_extra_firewall"],
            *instance_rules(instances),
        ],
        "batches": values["fabric_serial"],
        "backup": {
            "country": values["fabric_country"] or "",
            **{
                name: values[f"fabric_backup_{name}"]
                for name in ("folder", "keep", "schedule", "time_limit", "recipients")
            },
            "countries": values["fabric_countries"],
        },
        "reserved_ports": sorted(reserved),
        "zone": values["fabric_zone"],
        "zookeeper_hosts": values["fabric_zookeeper_hosts"] or clients,
        "catalogue": [service["name"] for service in values["fabric_services"] or []],
        "services": subscriptions(values),
        "instances": in_zone(
            [*instances, *data_tiers.instances(tiers, values)], values["fabric_zone"]
        ),
        "instance_units": [
            *values["fabric_instance_units"],
            *data_tiers.units(tiers, values),
        ],
        "certificates": [
            certificate(entry, host, values["fabric_address"])
            for entry in [
                *values["fabric_certificates"],
                *data_tiers.certificates(tiers, values),
                *edge_tier.certificates(tiers, values),
            ]
        ],
        "redis_port": int(values["redis_port"]),
        "redis_sentinel_port": int(values["redis_sentinel_port"]),
        "edge_address": {
            **{
                name: values[f"edge_address_{name}"]
                for name in ("shared", "interval", "back_after", "command")
            },
            "check_port": int(values["nginx_status_port"]),
        },
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
