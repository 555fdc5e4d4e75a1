"""Addresses that edges share: what may be meant, and where a host has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from selvage.fields import Fields, Invalid, parse_duration, unique

# keepalived's own limits, and those of VRRP (hundredths of seconds in 12 bits).
INTERVAL = ("100ms", "10s")
BACK_AFTER = ("0s", "1000s")
# More would not fit below each other's priorities; nobody has them.
MOST_MEMBERS = 10


def check_addresses(value: object, name: str) -> None:
    """Refuse what no host can have as an address of its own."""
    fields = Fields({name: value}, "")
    texts = fields.texts(name, r"[0-9.]{7,15}", "an IPv4 address")
    for index, text in enumerate(texts):
        try:
            address = IPv4Address(text)
        except ValueError:
            raise fields.fail(f"{name}[{index}]", f"{text} is not an IPv4 address") from None
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            raise fields.fail(f"{name}[{index}]", f"{text} is no address that a host may share")
    unique(texts, name, "address")


def check_interval(value: object, name: str) -> None:
    """Refuse what VRRP cannot say: it counts hundredths of a second."""
    milliseconds = Fields({name: value}, "").duration(name, *INTERVAL)
    if milliseconds % 10:
        raise Invalid(f"{name}: expected hundredths of a second, such as 250ms, got {value}")


def check_back_after(value: object, name: str) -> None:
    """Refuse what is longer than keepalived waits."""
    Fields({name: value}, "").duration(name, *BACK_AFTER)


def check_command(value: object, name: str) -> None:
    """Refuse what systemd cannot start."""
    words = Fields({name: value}, "").texts(name, r"[ -~]{1,500}", "a word of printable ASCII")
    if words and not words[0].startswith("/"):
        raise Invalid(f"{name}: expected the absolute path of a program first, got {words[0]!r}")


def place_problems(shared: Sequence[str], hosts: Mapping[str, str]) -> list[str]:
    """Shared addresses that a host has for itself; `hosts` are addresses by the hosts' names."""
    owners = {address: host for host, address in hosts.items()}
    return [
        f"edge_address_shared: {address} is {owners[address]}'s own address; a shared one is free"
        " for whoever has it at the time"
        for address in shared
        if address in owners
    ]


def problems(inputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the role's inputs, a line each."""
    checks: Sequence[Callable[[], object]] = (
        lambda: _members(inputs["edge_address_members"], inputs["edge_address_name"]),
        lambda: _some(inputs["edge_address_shared"]),
        lambda: check_addresses(inputs["edge_address_shared"], "edge_address_shared"),
        lambda: check_addresses(inputs["edge_address_witnesses"], "edge_address_witnesses"),
        lambda: check_interval(inputs["edge_address_interval"], "edge_address_interval"),
        lambda: check_back_after(inputs["edge_address_back_after"], "edge_address_back_after"),
        lambda: check_command(inputs["edge_address_command"], "edge_address_command"),
        lambda: Fields(inputs, "").text(
            "edge_address_check_url",
            r"http://[!#-&(-\[\]-~]{1,200}",
            "a URL such as http://127.0.0.1",
        ),
    )
    found = []
    for check in checks:
        try:
            check()
        except Invalid as problem:
            found.append(str(problem))
    if found:
        return found
    hosts = {member["name"]: member["address"] for member in inputs["edge_address_members"]}
    return place_problems(inputs["edge_address_shared"], hosts)


def _some(shared: Sequence[str]) -> None:
    if not shared:
        raise Invalid("edge_address_shared: is empty, so there is nothing to share")


def _members(members: Sequence[Mapping[str, Any]], own: str) -> None:
    names = [member["name"] for member in members]
    unique(names, "edge_address_members", "name")
    check_addresses([member["address"] for member in members], "edge_address_members")
    if not 2 <= len(members) <= MOST_MEMBERS:
        raise Invalid(
            f"edge_address_members: expected 2 to {MOST_MEMBERS} hosts that share an address,"
            f" got {len(members)}"
        )
    if own not in names:
        raise Invalid(f"edge_address_name: {own} is none of edge_address_members")


def places(
    shared: Iterable[str], facts: Mapping[str, Any], own: str, routed: bool
) -> dict[str, str]:
    """On which interface of this host each shared address belongs; empty where on none.

    It is the one whose network has the address. An address that a provider routes to the host
    (`routed`) is in no network here, and stands where `own` does.
    """
    networks = [
        (interface, network)
        for interface, network in _networks(facts)
        if str(network.ip) not in shared
    ]
    mine = next((name for name, network in networks if str(network.ip) == own), "")
    found = {}
    for address in shared:
        within = [
            (network.network.prefixlen, name)
            for name, network in networks
            if IPv4Address(address) in network.network
        ]
        found[address] = max(within)[1] if within else mine if routed else ""
    return {own: mine, **found}


def known_networks(facts: Mapping[str, Any]) -> list[str]:
    """The networks of a host, for messages."""
    return sorted(
        f"{network.network} ({name})"
        for name, network in _networks(facts)
        if network.network.prefixlen < 32
    )


def _networks(facts: Mapping[str, Any]) -> Iterable[tuple[str, IPv4Interface]]:
    for fact in facts.values():
        if not isinstance(fact, Mapping) or "device" not in fact or fact["device"] == "lo":
            continue
        first = fact.get("ipv4")
        for entry in [*([first] if first else []), *fact.get("ipv4_secondaries", [])]:
            yield (
                str(fact["device"]),
                IPv4Interface(f"{entry['address']}/{entry.get('prefix') or entry['netmask']}"),
            )


def seconds(duration: str) -> str:
    """A duration as keepalived has it: `0.5` for 500ms."""
    return f"{parse_duration(duration) / 1000:g}"


def systemd_words(words: Collection[str]) -> str:
    """A program and its arguments as a unit has them, none of them interpreted."""
    return " ".join(
        '"'
        + word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("%", "%%")
        + '"'
        for word in words
    )
