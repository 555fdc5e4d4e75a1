"""The types of the fabric's settings (playbooks/vars/fabric.yml): what a value of each has to be.

The daemons' own parsers judge what they will read, and the firewall's its rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from plugin_utils import celery, edge_address
from plugin_utils.residency import COUNTRY
from plugin_utils.rules import check_rules
from plugin_utils.secrets import LENGTHS, check_secret
from plugin_utils.x509 import read_chain
from selvage.backup.settings import RECIPIENT
from selvage.catalogue import SERVICE_NAME, parse_services
from selvage.fields import Fields, Invalid, unique
from selvage.registrar import settings as registrar
from selvage.registry.settings import parse_settings

# A host's settings by name, as playbooks/vars/fabric.yml has them.
Values = Mapping[str, Any]
# A host and what is wrong with it.
Problem = tuple[str, str]

# What is never told, not in a message either.
SENSITIVE = ("private_key", "secret", "secrets", "mysql_secrets")
# Of the password by which a replica logs in (MySQL's manual, CHANGE REPLICATION SOURCE TO).
MYSQL_CHARACTERS = 32
UNIT = r"[A-Za-z0-9:_.\\@-]+\.[a-z]+"
PROFILES = ("proxy", "zookeeper", "database", "cache")


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
    Fields({name: bound(text)}, "").integer(name, 1, 65535)


def bound(text: str) -> int:
    """The port of an address, which HAProxy's options may follow."""
    return int(text.split()[0].rpartition(":")[2])


def _port(value: object, name: str) -> None:
    Fields({name: value}, "").integer(name, 1, 65_535)


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


def _certificates(value: object, name: str) -> None:
    rows = Fields({name: value}, "").tables(name)
    names = []
    for row in rows:
        word = "[a-z0-9][a-z0-9_-]{0,31}"
        names.append(row.text("name", word, "up to 32 of a-z, 0-9, - and _"))
        if names[-1] == "ca":
            raise row.fail("name", "ca is the file of the CA's own certificate")
        row.texts("names", r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", "a DNS name")
        for index, text in enumerate(row.texts("addresses", r"[0-9A-Fa-f:.]{2,45}", "an address")):
            try:
                ip_address(text)
            except ValueError:
                raise row.fail(f"addresses[{index}]", f"{text} is not an address") from None
        account = "[a-z_][a-z0-9_-]{0,31}"
        row.text("owner", account, "a user", "root")
        row.text("group", account, "a group", "root")
        row.text("mode", "0[0-7][0-7]0", "a mode without others, such as '0640'", "0600")
        unit = row.has("unit")
        if unit:
            row.text("unit", UNIT, "a systemd unit such as nginx.service")
        if row.has("load"):
            if not unit:
                raise row.fail("load", "says how `unit` reads its files: name the unit, too")
            if not row.texts("load", r"[^\n]{1,500}", "a program or an argument of it"):
                raise row.fail("load", "an empty list does nothing: leave it out")
        row.done()
    unique(names, name, "name")


def _count(value: object, name: str) -> None:
    Fields({name: value}, "").integer(name, 1, 604_800)


def _folder(value: object, name: str) -> None:
    Fields({name: value}, "").path(name)


def _host(value: object, name: str) -> None:
    Fields({name: value}, "").text(name, r"\S{1,250}", "the name of a host")


def _authority(value: object, name: str) -> None:
    try:
        read_chain(value)
    except ValueError as problem:
        raise Invalid(f"{name}: expected certificates in PEM, but {problem}") from None


def _private_key(value: object, name: str) -> None:
    # What else it has to be shows beside its certificate and its passphrase. No part of it is told.
    if not isinstance(value, str) or "PRIVATE KEY-----" not in value:
        raise Invalid(f"{name}: expected a private key in PEM, encrypted with fabric_ca_passphrase")


def _secrets(value: object, name: str, longest: int = LENGTHS[1]) -> None:
    if not isinstance(value, list) or not 1 <= len(value) <= 2:
        words = "expected a list of one secret, or of the new one and the former one"
        raise Invalid(f"{name}: {words} (docs/operations.md, Secrets)")
    for index, secret in enumerate(value):
        check_secret(secret, f"{name}[{index}]", longest)


def _text(pattern: str, expected: str) -> Callable[[object, str], object]:
    return lambda value, name: Fields({name: value}, "").text(name, pattern, expected)


def _texts(pattern: str, expected: str) -> Callable[[object, str], object]:
    return lambda value, name: Fields({name: value}, "").texts(name, pattern, expected)


TYPES: Mapping[str, Callable[[object, str], object]] = {
    "address": _address,
    "addresses": edge_address.check_addresses,
    "applications": celery.applications,
    "authority": _authority,
    "back_after": edge_address.check_back_after,
    "backup_form": _text("physical|logical", "physical or logical"),
    "batches": _batches,
    "bind": _bind,
    "catalogue": parse_services,
    "certificates": _certificates,
    "command": edge_address.check_command,
    "count": _count,
    "countries": _texts(COUNTRY, "a country's two letters, such as DE"),
    "country": _text(COUNTRY, "a country's two letters, such as DE"),
    "cron": _text(
        r"[0-9*/,-]+( [0-9a-zA-Z*/,-]+){4}", "five fields of crontab(5), such as '17 3 * * *'"
    ),
    "firewall": check_rules,
    "flavour": _text("mariadb|mysql", "mariadb or mysql"),
    "folder": _folder,
    "group": _text(r"\S{1,250}", "the name of a group"),
    "host": _host,
    "instances": _instances,
    "interval": edge_address.check_interval,
    "mysql_secrets": lambda value, name: _secrets(value, name, MYSQL_CHARACTERS),
    "networks": _networks,
    "port": _port,
    "ports": _ports,
    "private_key": _private_key,
    "profiles": _texts("|".join(PROFILES), f"one of {', '.join(PROFILES)}"),
    "recipients": _texts(RECIPIENT, "a public key of age: age1…"),
    "secret": check_secret,
    "secrets": _secrets,
    # Beside the services that the host's sidecar has (plugin_utils/edge_tier.py).
    "sites": lambda value, name: Fields({name: value}, "").tables(name),
    "semi_sync": _text("go_on|wait", "go_on or wait"),
    "services": _texts(SERVICE_NAME, "a service's name"),
    "units": _texts(UNIT, "a systemd unit such as inventory.service"),
    "zone": _text(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})?", "a word such as eu-1"),
    "zookeeper": _zookeeper,
}
