"""Small pure functions for role node's firewall: its rules for nftables, and whom they meet."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils.rules import NUMBERS, Rule, firewall_lines, networks, parse_address, rule_ports

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
        # systemd holds sockets of many programs: its name would be a word for all of them.
        names = sorted(
            {port if program in ("", "systemd") else program for port, program in closed}
        )
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
    parsed = parse_address(text)
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


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "firewall_findings": firewall_findings,
            "firewall_lines": firewall_lines,
            "networks": networks,
            "rule_ports": rule_ports,
        }
