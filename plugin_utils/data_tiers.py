"""The data tiers, Redis and MySQL: what each needs, and what the fabric opens and makes for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from plugin_utils.settings import Problem, Values

# Fewer Sentinels have no majority once one is away.
REDIS_MEMBERS = 3
MYSQL_PORT = 3306
# Where a new replica takes the primary's data (role mysql).
MYSQL_SEED_PORT = 4444
# Role certificates has it on every host.
AUTHORITY = "/etc/selvage/tls/ca.pem"
TIERS = ("redis", "mysql")
# By its flavour how MySQL's server reads a renewed certificate. Nothing of it may stand in the
# binary log: in a replica's it would be a transaction of its own, which ends replication.
MYSQL_LOADS = {
    "mariadb": {"unit": "mariadb.service", "load": ["mariadb", "--execute=FLUSH LOCAL SSL"]},
    "mysql": {"unit": "mysql.service", "load": ["mysql", "--execute=ALTER INSTANCE RELOAD TLS"]},
}
PROFILES = {"redis": "cache", "mysql": "database"}
# The same for all members. Role mysql has no default for the last two: the one is the cluster's
# beginning, the other decides between writes that wait and writes that may be lost.
MYSQL_REQUIRED = {
    "mysql_flavour": "name what all members run: mariadb, or mysql",
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
        made = {entry["name"] for entry in certificates(_of(host, tiers), values[host])}
        problems += [
            (host, f"fabric_certificates: {name} is the name of one that the fabric makes itself")
            for name in sorted(
                made & {entry["name"] for entry in values[host]["fabric_certificates"]}
            )
        ]
    return problems


def services(tiers: Collection[str], flavour: str) -> list[dict[str, Any]]:
    """What the fabric adds to the catalogue for its data tiers, so that applications find them.

    `flavour` is that of MySQL's members.
    """
    found: list[dict[str, Any]] = []
    if "redis" in tiers:
        check = {"type": "redis", "user": "check", "ca": AUTHORITY}
        found += [_primary("redis", 6379, check), _replica("redis", 6380, check)]
    if "mysql" in tiers:
        check = {"type": "mysql", "user": "haproxy_check", "flavour": flavour}
        found += [_primary("mysql", 3307, check), _replica("mysql", 3306, check)]
    return found


def _primary(tier: str, port: int, check: Values) -> dict[str, Any]:
    """One server at most, and none where there is no primary."""
    return {
        "name": f"{tier}-primary",
        **_service(port),
        "check": {**check, "role": "primary", "interval": "1s", "rise": 1, "fall": 2},
        "guards": {"max_servers": 1, "allow_empty": True},
        # Whoever stopped being the primary takes no writes any more.
        "drain": "0s",
    }


def _replica(tier: str, port: int, check: Values) -> dict[str, Any]:
    return {
        "name": f"{tier}-replica",
        **_service(port),
        "check": {**check, "role": "replica", "interval": "1s", "rise": 1, "fall": 2},
    }


def _service(port: int) -> dict[str, Any]:
    # As long as MySQL's own wait_timeout: applications keep connections that rest.
    return {"port": port, "mode": "tcp", "timeouts": {"client": "8h", "server": "8h"}}


def instances(tiers: Collection[str], values: Values) -> list[dict[str, Any]]:
    """What the registrar of a member announces: the roles that its server has at the moment."""
    found = []
    if "redis" in tiers:
        check = {"type": "redis", "user": "check", "ca": AUTHORITY}
        found += _roles("redis", int(values["redis_port"]), check)
    if "mysql" in tiers:
        primary, replica = _roles("mysql", MYSQL_PORT, {"type": "mysql"})
        # Applications wait for a new primary to be found. It leaves as late as others do.
        primary["check"] |= {"interval": "250ms", "fall": 8}
        found += [primary, replica]
    return found


def _roles(tier: str, port: int, check: Values) -> list[dict[str, Any]]:
    return [
        {"service": f"{tier}-{role}", "port": port, "check": {**check, "role": role}}
        for role in ("primary", "replica")
    ]


def ports(tiers: Collection[str], values: Values) -> dict[int, str]:
    """The ports on which this host's data tiers listen, at its own address."""
    found = {}
    if "redis" in tiers:
        found[int(values["redis_port"])] = "Redis"
        found[int(values["redis_sentinel_port"])] = "Sentinel"
    if "mysql" in tiers:
        found |= {MYSQL_PORT: "MySQL", MYSQL_SEED_PORT: "the seeding of a MySQL replica"}
    return found


def rules(tiers: Collection[str], values: Values, mysql: Iterable[str]) -> list[dict[str, Any]]:
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


def units(tiers: Collection[str], values: Values) -> list[str]:
    """Those of its servers: at shutdown they stop after the registrar has taken them out."""
    found = ["redis-server.service"] if "redis" in tiers else []
    if "mysql" in tiers:
        found.append(str(MYSQL_LOADS[values["mysql_flavour"]]["unit"]))
    return found


def certificates(tiers: Collection[str], values: Values) -> list[dict[str, Any]]:
    """The certificates of their servers, which the roles look for under these names.

    Each is for 127.0.0.1, too: that is where applications connect to, and the sidecar passes on.
    """
    here = {"names": ["localhost"], "addresses": ["127.0.0.1"], "mode": "0640"}
    found: list[dict[str, Any]] = []
    if "redis" in tiers:
        # Its own role lets it load a new one: nobody else has the password.
        found.append({"name": "redis", "group": "redis", **here})
    if "mysql" in tiers:
        load = MYSQL_LOADS.get(values["mysql_flavour"], {})
        found.append({"name": "mysql", "group": "mysql", **here, **load})
    return found


def _of(host: str, tiers: Mapping[str, set[str]]) -> set[str]:
    return {tier for tier, hosts in tiers.items() if host in hosts}
