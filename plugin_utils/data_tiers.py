"""The data tiers, Redis and MySQL: what each needs, and what the fabric opens and makes for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plugin_utils.settings import Problem, Values

# Fewer Sentinels have no majority once one is away.
REDIS_MEMBERS = 3
MYSQL_PORT = 3306
# Where a new replica takes the primary's data (role mysql).
MYSQL_SEED_PORT = 4444
PROFILES = {"redis": "cache", "mysql": "database"}
# Role mysql has no default for either: the first is the cluster's beginning, the second decides
# between writes that wait and writes that may be lost.
MYSQL_REQUIRED = {
    "mysql_first_primary": "name the member that is primary until there is data",
    "mysql_semi_sync_without_replica": (
        "say what a commit does while no replica answers: go_on, or wait (roles/mysql/README.md)"
    ),
}


def tier_problems(tiers: Mapping[str, set[str]], values: Mapping[str, Values]) -> list[Problem]:
    """What is wrong with the tiers as a whole."""
    redis, mysql = sorted(tiers["redis"]), sorted(tiers["mysql"])
    problems: list[Problem] = []
    if 0 < len(redis) < REDIS_MEMBERS:
        text = (
            f"Redis needs {REDIS_MEMBERS} members or more, because fewer Sentinels have no majority"
            f" once one is away; the group has {len(redis)}"
        )
        problems += [(host, text) for host in redis]
    for name, words in MYSQL_REQUIRED.items():
        said = {values[host][name] for host in mysql}
        if None in said:
            problems += [(host, f"{name}: {words}") for host in mysql if values[host][name] is None]
        elif len(said) > 1:
            text = f"{name}: {' here, '.join(sorted(said))} there; set it once, for all members"
            problems += [(host, text) for host in mysql]
        elif name == "mysql_first_primary" and said and not said <= {*mysql}:
            text = f"{name}: {said.pop()} is none of MySQL's members, which are {', '.join(mysql)}"
            problems += [(host, text) for host in mysql]
    for host in {*redis, *mysql}:
        made = {entry["name"] for entry in certificates(_of(host, tiers))}
        problems += [
            (host, f"fabric_certificates: {name} is the name of one that the fabric makes itself")
            for name in sorted(
                made & {entry["name"] for entry in values[host]["fabric_certificates"]}
            )
        ]
    return problems


def ports(tiers: Iterable[str], values: Values) -> dict[int, str]:
    """The ports on which this host's data tiers listen, at its own address."""
    found = {}
    if "redis" in tiers:
        found[int(values["redis_port"])] = "Redis"
        found[int(values["redis_sentinel_port"])] = "Sentinel"
    if "mysql" in tiers:
        found |= {MYSQL_PORT: "MySQL", MYSQL_SEED_PORT: "the seeding of a MySQL replica"}
    return found


def rules(tiers: Iterable[str], values: Values, mysql: Iterable[str]) -> list[dict[str, Any]]:
    """The firewall's rules for them; `mysql` are the addresses of MySQL's members."""
    found: list[dict[str, Any]] = []
    if "redis" in tiers:
        own = [*ports({"redis"}, values)]
        found.append({"name": "Redis and Sentinel", "ports": own, "from": "fabric"})
    if "mysql" in tiers:
        seeds = {"port": MYSQL_SEED_PORT, "from": [*mysql]}
        found += [
            {"name": "MySQL", "port": MYSQL_PORT, "from": "fabric"},
            {"name": "The seeding of MySQL's replicas", **seeds},
        ]
    return found


def certificates(tiers: Iterable[str]) -> list[dict[str, Any]]:
    """The certificates of their servers, which the roles look for under these names."""
    found: list[dict[str, Any]] = []
    if "redis" in tiers:
        # Its own role lets it load a new one: nobody else has the password.
        found.append({"name": "redis", "group": "redis", "mode": "0640"})
    if "mysql" in tiers:
        load = {"unit": "mariadb.service", "load": ["mariadb", "--execute=FLUSH SSL"]}
        found.append({"name": "mysql", "group": "mysql", "mode": "0640", **load})
    return found


def _of(host: str, tiers: Mapping[str, set[str]]) -> set[str]:
    return {tier for tier, hosts in tiers.items() if host in hosts}
