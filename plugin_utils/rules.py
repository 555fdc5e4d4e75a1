"""Rules of the firewall: what an inventory may write, and how nftables says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Any

from selvage.fields import Fields

Rule = Mapping[str, Any]
FAMILIES = {4: "ip", 6: "ip6"}
# Who may connect, by name: the sets of the table, and everybody.
GROUPS = ("fabric", "control", "anywhere")
WITH_PORTS = ("tcp", "udp", "sctp")
# The others by number: /etc/protocols is a package's, and not on every node.
NUMBERS = {
    "ah": 51,
    "esp": 50,
    "gre": 47,
    "igmp": 2,
    "ipip": 4,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
}


def parse_network(text: object) -> IPv4Network | IPv6Network:
    """An address or a network; raises ValueError with what is wrong."""
    try:
        return ip_network(str(text))
    except ValueError as problem:
        raise ValueError(f"{text} is not an address or a network: {problem}") from None


def parse_address(text: object) -> IPv4Address | IPv6Address:
    """An address; raises ValueError with what is wrong."""
    try:
        return ip_address(str(text))
    except ValueError:
        raise ValueError(f"{text} is not an address") from None


def networks(addresses: Iterable[str], version: int) -> list[str]:
    """The addresses and networks of one IP version, sorted, without those that others contain."""
    chosen = [network for network in map(parse_network, addresses) if network.version == version]
    collapsed: Iterable[Any] = collapse_addresses(chosen)
    return [str(net.network_address) if net.num_addresses == 1 else str(net) for net in collapsed]


def rule_ports(rule: Rule) -> list[int]:
    """The ports of one rule, sorted."""
    ports = [rule["port"]] if rule.get("port") is not None else rule.get("ports") or []
    return sorted({int(port) for port in ports})


def _sources(origin: str | list[str]) -> list[str]:
    """The source part of a rule, once per IP version."""
    if origin == "anywhere":
        return [""]
    if isinstance(origin, str):
        return [f"{word} saddr @{origin}{version} " for version, word in FAMILIES.items()]
    return [
        f"{word} saddr {{ {', '.join(networks(origin, version))} }} "
        for version, word in FAMILIES.items()
        if networks(origin, version)
    ]


def firewall_lines(rules: Iterable[Rule]) -> list[str]:
    """One nftables rule per line, in an order that does not depend on the input's."""
    return sorted(
        f'{_interface(rule)}{source}{_protocol(rule)} accept comment "{rule["name"]}"'
        for rule in rules
        for source in _sources(rule["from"])
    )


def _interface(rule: Rule) -> str:
    return f'iifname "{rule["interface"]}" ' if rule.get("interface") is not None else ""


def _protocol(rule: Rule) -> str:
    protocol = rule.get("protocol") or "tcp"
    if protocol in NUMBERS:
        return f"meta l4proto {NUMBERS[protocol]}"
    return f"{protocol} dport {{ {', '.join(map(str, rule_ports(rule)))} }}"


def check_rules(rules: object, name: str) -> None:
    """Refuse rules that cannot be meant; `name` is the variable that holds them."""
    for index, rule in enumerate(Fields({name: rules}, "").tables(name)):
        _check_rule(rule, rules[index].get("from"))  # type: ignore[index]  # it is a list


def _check_rule(rule: Fields, origin: object) -> None:
    rule.text("name", r"[ !#-\[\]-~]{1,100}", "up to 100 plain characters, without quotation marks")
    protocol = rule.choice("protocol", (*WITH_PORTS, *NUMBERS), "tcp")
    given = [word for word in ("port", "ports") if rule.has(word)]
    if protocol in NUMBERS and given:
        raise rule.fail(given[0], f"{protocol} has no ports")
    if protocol in WITH_PORTS and len(given) != 1:
        raise rule.fail("port", "give either port or ports")
    if "port" in given:
        rule.integer("port", 1, 65535)
    if "ports" in given and not rule.integers("ports", 1, 65535):
        raise rule.fail("ports", "an empty list opens nothing: leave the rule out")
    if rule.has("interface"):
        word = "[A-Za-z0-9_.:@-]"
        expected = "a network interface, such as virbr0 or virbr*, of up to 15 characters"
        rule.text("interface", rf"{word}{{1,15}}|{word}{{1,14}}\*", expected)
    who = f"{', '.join(GROUPS)}, or a list of addresses and networks"
    if not isinstance(origin, list):
        rule.text("from", "|".join(GROUPS), who)
    elif not origin:
        raise rule.fail("from", f"expected {who}; this one is empty")
    else:
        for index, text in enumerate(rule.texts("from", ".+", "an address or a network")):
            try:
                parse_network(text)
            except ValueError as problem:
                raise rule.fail(f"from[{index}]", str(problem)) from None
    rule.done()


def check_closed(names: object, name: str) -> None:
    """Refuse what neither names a port nor a program."""
    Fields({name: names}, "").texts(
        name,
        "[0-9]{1,5}/(tcp|udp)|(?![0-9]+(/|$))[ -~]{1,15}",
        "a port such as 111/udp, or the name of a program",
    )
