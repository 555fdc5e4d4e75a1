"""The types of the fabric's settings (playbooks/vars/fabric.yml): what a value of each has to be.

The daemons' own parsers judge what they will read, and the firewall's its rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_network

from plugin_utils.rules import check_rules
from selvage.catalogue import SERVICE_NAME, parse_services
from selvage.fields import Fields, Invalid
from selvage.registrar import settings as registrar
from selvage.registry.settings import parse_settings

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
    "port": _port,
    "ports": _ports,
    "profiles": _texts("|".join(PROFILES), f"one of {', '.join(PROFILES)}"),
    "services": _texts(SERVICE_NAME, "a service's name"),
    "units": _texts(r"[A-Za-z0-9:_.\\@-]+\.[a-z]+", "a systemd unit such as inventory.service"),
    "zone": _text(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})?", "a word such as eu-1"),
    "zookeeper": _zookeeper,
}
