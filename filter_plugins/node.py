"""Small pure functions for role node: what is wrong with its input, and rules as nftables words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Any

# Ansible's search path for module_utils serves modules alone.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from selvage.fields import Fields, Invalid

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
# DHCP and ICMP, which the template opens by itself; sockets with the last number only send.
ALWAYS = ("68/udp", "546/udp", "protocol 1", "protocol 58", "protocol 255")
# By Debian's defaults the resolver answers for its host's name in the local network, so it does on
# fresh cloud images, and nobody asks it there: names are in /etc/hosts and in DNS.
RESOLVER = {(port, "systemd-resolve") for port in ("5353/udp", "5355/tcp", "5355/udp")}
# Another firewall, and how to end it: of two, each drops what the other one opens.
RIVALS = {"ufw": "ufw disable", "firewalld": "systemctl disable --now firewalld"}
# What else meddles with packets, by its unit, and what it means for whoever declares rules here.
NEIGHBOURS = {
    "fail2ban": "fail2ban bans in a table of its own, before or after these rules",
    "docker": (
        "ports that Docker publishes are forwarded, so they stay open whatever is declared here;"
        " what containers want of the host itself needs a rule with an interface, such as docker0"
    ),
    "libvirtd": (
        "libvirt's guests are forwarded as before, but their DHCP and DNS come in from its bridge:"
        " they need a rule such as {name: guests, interface: virbr0, protocol: udp,"
        " ports: [53, 67], from: anywhere}"
    ),
}


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(text))
    except ValueError as problem:
        raise ValueError(f"{text} is not an address or a network: {problem}") from None


def _address(text: object) -> IPv4Address | IPv6Address:
    try:
        return ip_address(str(text))
    except ValueError:
        raise ValueError(f"{text} is not an address") from None


def _problem(place: str, check: Callable[[Any], object], value: object) -> Iterator[str]:
    """One line when the check raises ValueError, else nothing."""
    try:
        check(value)
    except ValueError as problem:
        yield f"{place}: {problem}"


def networks(addresses: Iterable[str], version: int) -> list[str]:
    """The addresses and networks of one IP version, sorted, without those that others contain."""
    chosen = [network for network in map(_network, addresses) if network.version == version]
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
            for problem in _problem(rule.at(f"from[{index}]"), _network, text):
                raise Invalid(problem)
    rule.done()


def check_closed(names: object, name: str) -> None:
    """Refuse what neither names a port nor a program."""
    Fields({name: names}, "").texts(
        name,
        "[0-9]{1,5}/(tcp|udp)|(?![0-9]+(/|$))[ -~]{1,15}",
        "a port such as 111/udp, or the name of a program",
    )


def firewall_findings(
    seen: Iterable[str], rules: Iterable[Rule], may_close: Iterable[str]
) -> dict[str, list[str]]:
    """What the rules meet on a node: `problems` that refuse the run, and `notes`, one line each.

    `seen` is what tasks/refuse.yml printed. Without rules of a former run nobody has decided yet
    about what listens, so it asks: what would be closed to everybody is a problem, unless
    `may_close` has the port or the program.
    """
    lines = [*seen]
    former = [line for line in lines if line.startswith("former")]
    new = _opened(firewall_lines(rules))
    problems = [
        f"{name} is a second firewall, and what it drops stays closed whatever is declared here:"
        f" end it ({end}), or set node_firewall_enabled to false"
        for name, end in RIVALS.items()
        if name in _present(lines)
    ]
    notes = [text for name, text in NEIGHBOURS.items() if name in _present(lines)]
    try:
        listening = _listening(line for line in lines if line.startswith("socket "))
    except ValueError as problem:
        return {"problems": [*problems, str(problem)], "notes": notes}
    if "blind" in lines:
        problems.append(
            "ss fails, so nothing shows what the firewall would close: install Debian's iproute2"
        )
    closed = [
        (port, program)
        for port, program in listening
        if port not in new and not {port, program} & {*may_close}
    ]
    if closed and not former:
        names = sorted({program or port for port, program in closed})
        problems.append(
            f"the firewall would close {_shown(closed)}: declare rules (node_firewall_allow, in a"
            " fabric fabric_extra_firewall), or let them be closed, by port or by program:"
            f" node_firewall_close: [{', '.join(names)}]"
        )
    dropped = [(port, program) for port, program in closed if port in _opened(former)]
    if dropped:
        notes.append(f"what listens at {_shown(dropped)} was open, and is closed from now on")
    return {"problems": problems, "notes": notes}


def _opened(lines: Iterable[str]) -> set[str]:
    """The ports and protocols that lines of ours open to somebody."""
    opened = {*ALWAYS}
    for line in lines:
        for protocol, ports in re.findall(r"\b(\w+) dport \{ ([0-9, ]+) \} accept", line):
            opened.update(f"{port}/{protocol}" for port in ports.split(", "))
        for number in re.findall(r"\bmeta l4proto ([0-9]+) accept", line):
            opened.add(_named(number))
    return opened


def _named(number: str) -> str:
    """A protocol without ports, by the name that a rule has for it."""
    names = {str(known): name for name, known in NUMBERS.items()}
    return names.get(number, f"protocol {number}")


def _present(lines: list[str]) -> set[str]:
    """The programs of `RIVALS` and `NEIGHBOURS` that run, or will at the next boot."""
    found = {line.removeprefix("beside ") for line in lines if line.startswith("beside ")}
    unit = ""
    for key, _, value in (line.partition("=") for line in lines):
        if key == "Id":
            unit = value.removesuffix(".service")
        elif (key, value) in (("ActiveState", "active"), ("UnitFileState", "enabled")):
            found.add(unit)
    return found


def _listening(sockets: Iterable[str]) -> list[tuple[str, str]]:
    """Ports and protocols, each with its program, from lines of `ss`; without those on loopback.

    A program's name is what it calls itself. The kernel's own sockets have none.
    """
    listening = set()
    for line in sockets:
        match = re.match(r"socket (tcp|udp|raw) +\S+ +\d+ +\d+ +(\S+):(\d+) +\S+(.*)", line)
        if match is None:
            raise ValueError(f"ss says what is not understood: {line!r:.100}")
        kind, address, port, users = match.groups()
        programs = [
            re.sub(r"[^\w .:@+-]", "?", name, flags=re.ASCII)[:15]
            for name in re.findall(r'\("(.*?)",pid=', users)
        ]
        # What waits for its first connection is systemd's too.
        program = next((name for name in programs if name != "systemd"), "".join(programs[:1]))
        key = _named(port) if kind == "raw" else f"{port}/{kind}"
        # Docker's proxy serves this host alone: all others are forwarded before they come here.
        if not (_on_loopback(address) or program == "docker-proxy" or (key, program) in RESOLVER):
            listening.add((key, program))
    return sorted(listening)


def _on_loopback(address: str) -> bool:
    text, _, interface = re.sub(r"[\[\]]", "", address).partition("%")
    if interface == "lo":
        return True
    if text == "*":
        return False
    parsed = _address(text)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _shown(ports: Iterable[tuple[str, str]]) -> str:
    """Ports by program: `111/tcp, 111/udp (rpcbind); 51820/udp`."""
    programs: dict[str, list[str]] = {}
    for port, program in ports:
        programs.setdefault(program, []).append(port)
    return "; ".join(
        f"{', '.join(sorted(some))}{f' ({program})' if program else ''}"
        for program, some in sorted(programs.items())
    )


def _member_problems(address: object, members: list[Mapping[str, str]]) -> Iterator[str]:
    yield from _problem("node_address", _address, address)
    for member in members:
        place = f"node_members, {member['name']}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", member["name"]):
            yield f"{place}: not a name of letters, digits, dots, - and _"
        yield from _problem(place, _address, member["address"])
    for key in ("name", "address"):
        # Whoever looks a name up does not distinguish capitals.
        values = [member[key].lower() for member in members]
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"node_members: {key} {value} is there twice"
    if address not in [member["address"] for member in members]:
        yield f"node_members: this node's own address {address} is missing"


def comes_over_ssh(connection: str) -> bool:
    """Whether a connection plugin, by its name (`ansible_connection`), comes through sshd."""
    return "ssh" in connection or connection.rpartition(".")[2] in ("smart", "paramiko")


def _lockout_problems(node: Mapping[str, Any]) -> Iterator[str]:
    """Why the rules would keep out whoever runs this, judged by the ssh session they came over."""
    ssh_port = int(node["ssh_port"])
    ports = sorted(node["listening"])
    if node["session"]:
        client, _, server, port = node["session"].split()
        address = _address(client.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in _network(item) for item in node["control_addresses"]):
            yield (
                f"node_control_addresses leaves out {mapped}, from which this run comes: "
                "it would lock itself out; add it"
            )
        # From the node to itself any port is open, whatever the rules say.
        if client != server:
            ports = [int(port)]
            if ssh_port not in ports:
                yield (
                    f"node_ssh_port is {ssh_port}, but this run comes in on port {port}: "
                    f"it would lock itself out; set it to {port}"
                )
            return
    elif comes_over_ssh(node["connection"]):
        yield (
            "this run comes over ssh, but its session cannot be found among the node's processes, "
            "so nothing shows whether the firewall would let you in again: log in as root or use "
            "sudo, or set node_firewall_enabled to false"
        )
    if ports and ssh_port not in ports:
        yield f"node_ssh_port is {ssh_port}, where nothing listens: set it to sshd's port"


def node_problems(node: Mapping[str, Any]) -> list[str]:
    """What is wrong with the role's input, one line each; empty when nothing is.

    Takes `address`, `members`, `networks`, `control_addresses`, `allow`, `close`, `firewall`
    (whether it is on), `ssh_port`, and how this run reached the node: `connection` (the plugin's
    name), `session` (the words of SSH_CONNECTION, or nothing) and `listening` (the ports that are
    listened on; none where no sshd is).
    """
    problems = list(_member_problems(node["address"], node["members"]))
    for place in ("control_addresses", "networks"):
        for item in node[place]:
            problems += _problem(f"node_{place}", _network, item)
    for check, key in ((check_rules, "firewall_allow"), (check_closed, "firewall_close")):
        try:
            check(node[key.removeprefix("firewall_")], f"node_{key}")
        except Invalid as problem:
            problems.append(str(problem))
    if problems or not node["firewall"]:
        return problems
    if not node["control_addresses"]:
        return ["node_control_addresses is empty: nobody could reach ssh; name your own network"]
    try:
        return list(_lockout_problems(node))
    except ValueError as problem:
        return [f"the ssh session that this run comes over is not TCP: {problem}"]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "comes_over_ssh": comes_over_ssh,
            "firewall_findings": firewall_findings,
            "firewall_lines": firewall_lines,
            "networks": networks,
            "node_problems": node_problems,
            "rule_ports": rule_ports,
        }
