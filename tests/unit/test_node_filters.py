"""Role node: input that does not fit is named, rules become nftables lines."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
import yaml

SOURCE = Path(__file__).parents[2] / "filter_plugins" / "node.py"
spec = importlib.util.spec_from_file_location("node_filters", SOURCE)
node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(node)

GOOD = {
    "address": "198.18.0.11",
    "members": [
        {"name": "zk1", "address": "198.18.0.11"},
        {"name": "zk2", "address": "198.18.0.12"},
    ],
    "control_addresses": ["198.18.0.0/28", "2001:db8::1"],
    "networks": [],
    "allow": [{"name": "ZooKeeper's clients", "port": 2181, "from": "fabric"}],
    "close": ["rpcbind", "5353/udp"],
    "firewall": True,
    "ssh_port": 22,
    "connection": "ssh",
    "session": "198.18.0.1 50000 198.18.0.11 22",
    "listening": [22, 2181],
}


def came(client: str, port: int = 22, server: str = "198.18.0.11") -> dict[str, str]:
    return {"session": f"{client} 50000 {server} {port}"}


# Started on the node: by somebody who logged in there, or not over ssh at all.
LOCAL = {"connection": "local"}
CONSOLE = {"connection": "local", "session": ""}


def test_good_input_has_no_problems():
    assert node.node_problems(GOOD) == []


@pytest.mark.parametrize("name", ["app1.example.net", "App1", "app_1", "192.0.2.9"])
def test_names_as_inventories_have_them(name):
    other = {"name": name, "address": "198.18.0.13"}
    assert node.node_problems(GOOD | {"members": [*GOOD["members"], other]}) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"address": "zk1"}, "node_address: zk1 is not an address"),
        ({"address": "198.18.0.99"}, "own address 198.18.0.99 is missing"),
        ({"members": GOOD["members"] * 2}, "name zk1 is there twice"),
        (
            {"members": [*GOOD["members"], {"name": "zk3", "address": "198.18.0.12"}]},
            "address 198.18.0.12 is there twice",
        ),
        (
            {"members": [*GOOD["members"], {"name": "ZK1", "address": "198.18.0.13"}]},
            "name zk1 is there twice",
        ),
        ({"members": [{"name": "zk 1", "address": "198.18.0.11"}]}, "zk 1: not a name of letters"),
        ({"control_addresses": []}, "node_control_addresses is empty"),
        (
            {"networks": ["198.18.0.1/24"]},
            "node_networks: 198.18.0.1/24 is not an address or a network",
        ),
        ({"control_addresses": ["198.18.0.1/24"]}, "198.18.0.1/24 is not an address or a network"),
        (came("192.0.2.9"), "leaves out 192.0.2.9, from which this run comes"),
        (came("fe80::1%eth0"), "leaves out fe80::1,"),
        (came("198.18.0.1", 2222), "node_ssh_port is 22, but this run comes in on port 2222"),
        (LOCAL | came("192.0.2.9"), "leaves out 192.0.2.9, from which this run comes"),
        (LOCAL | came("198.18.0.1", 2222), "node_ssh_port is 22, but this run comes in on port"),
        # The node from itself: any port is open to it.
        (came("198.18.0.1", server="198.18.0.1") | {"ssh_port": 23}, "23, where nothing listens"),
        (CONSOLE | {"ssh_port": 23}, "node_ssh_port is 23, where nothing listens"),
        ({"session": ""}, "its session cannot be found"),
        ({"session": "", "connection": "paramiko"}, "its session cannot be found"),
        ({"session": "", "connection": "community.general.libssh"}, "its session cannot be found"),
        ({"session": "UNKNOWN 65535 UNKNOWN 65535"}, "UNKNOWN is not an address"),
    ],
)
def test_wrong_input_is_named(change, problem):
    assert problem in "; ".join(node.node_problems(GOOD | change))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"port": None}, "port: give either port or ports"),
        ({"ports": [1]}, "port: give either port or ports"),
        ({"port": 65536}, "port: expected a whole number from 1 to 65535, got 65536"),
        ({"port": None, "ports": []}, "ports: an empty list opens nothing: leave the rule out"),
        ({"port": None, "ports": [80, "http"]}, "ports.1: expected a whole number"),
        ({"protocol": "vrrp"}, "port: vrrp has no ports"),
        ({"protocol": "icmp"}, "protocol: expected one of tcp, udp, sctp, ah, esp, gre, igmp, "),
        ({"interface": "a-name-of-16-chr"}, "interface: expected a network interface"),
        ({"interface": 'eth0"'}, "interface: expected a network interface"),
        ({"interface": "*"}, "interface: expected a network interface"),
        ({"from": "everywhere"}, "from: expected fabric, control, anywhere, or a list of addr"),
        ({"from": None}, "from: is required"),
        ({"from": []}, "from: expected fabric, control, anywhere, or a list of addresses"),
        ({"from": ["here"]}, "from[0]: here is not an address or a network"),
        ({"name": 'a" drop'}, "name: expected up to 100 plain characters, without quotation"),
        ({"name": "a\\"}, "name: expected up to 100 plain characters, without quotation marks"),
        ({"name": "a\nb"}, "name: expected up to 100 plain characters, without quotation marks"),
        ({"iface": "eth0"}, "iface: is not a known field; did you mean interface?"),
    ],
)
def test_a_wrong_rule_is_named(change, problem):
    rule = GOOD["allow"][0] | change
    (line,) = node.node_problems(GOOD | {"allow": [rule]})
    assert line.startswith(f"node_firewall_allow[0].{problem}")
    assert "\n" not in line


@pytest.mark.parametrize("name", ["8080", "8080/", "111/rpc", "", "a name of 16 chr", 8080])
def test_what_may_be_closed_is_a_port_or_a_program(name):
    (line,) = node.node_problems(GOOD | {"close": ["rpcbind", name]})
    expected = "expected a port such as 111/udp, or the name of a program"
    assert line.startswith(f"node_firewall_close[1]: {expected}")


@pytest.mark.parametrize(
    "change",
    [
        {"firewall": False, "control_addresses": []},
        {"firewall": False, **came("192.0.2.9")},
        {"firewall": False, "session": ""},
        came("::ffff:198.18.0.1"),
        came("2001:db8::1"),
        came("198.18.0.1", 2222) | {"ssh_port": "2222"},
        came("198.18.0.1", 2222, server="198.18.0.1"),
        LOCAL,
        CONSOLE,
        CONSOLE | {"connection": "community.docker.docker"},
        # No sshd at all.
        CONSOLE | {"ssh_port": 23, "listening": []},
    ],
)
def test_what_is_right_in_its_place(change):
    assert node.node_problems(GOOD | change) == []


def test_networks_are_sorted_and_never_overlap():
    addresses = ["10.0.0.2", "10.0.0.1", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "10.0.0.1"]
    assert node.networks(addresses, 4) == ["10.0.0.1", "10.0.0.2", "10.1.0.0/16"]
    assert node.networks(addresses, 6) == ["2001:db8::/32"]


def test_rules_name_their_sources_and_do_not_depend_on_order():
    rules = [
        {"name": "web", "ports": ["443", 80], "from": "anywhere"},
        {"name": "names", "port": 53, "protocol": "udp", "from": "fabric"},
        {"name": "quorum", "port": 2888, "from": ["198.18.0.12", "198.18.0.14"]},
    ]
    expected = [
        'ip saddr @fabric4 udp dport { 53 } accept comment "names"',
        'ip saddr { 198.18.0.12, 198.18.0.14 } tcp dport { 2888 } accept comment "quorum"',
        'ip6 saddr @fabric6 udp dport { 53 } accept comment "names"',
        'tcp dport { 80, 443 } accept comment "web"',
    ]
    assert node.firewall_lines(rules) == expected
    assert node.firewall_lines(reversed(rules)) == expected


def test_rules_for_interfaces_and_for_protocols_without_ports():
    rules = [
        {
            "name": "dhcp",
            "interface": "virbr*",
            "protocol": "udp",
            "port": 67,
            "from": "anywhere",
        },
        {"name": "keepalived", "protocol": "vrrp", "from": ["198.18.0.12", "fe80::/10"]},
        {"name": "tunnels", "interface": "eth1", "protocol": "gre", "from": "anywhere"},
        {"name": "signals", "protocol": "sctp", "port": 2905, "from": "anywhere"},
    ]
    assert node.node_problems(GOOD | {"allow": rules}) == []
    assert node.firewall_lines(rules) == [
        'iifname "eth1" meta l4proto 47 accept comment "tunnels"',
        'iifname "virbr*" udp dport { 67 } accept comment "dhcp"',
        'ip saddr { 198.18.0.12 } meta l4proto 112 accept comment "keepalived"',
        'ip6 saddr { fe80::/10 } meta l4proto 112 accept comment "keepalived"',
        'sctp dport { 2905 } accept comment "signals"',
    ]
    assert [node.rule_ports(rule) for rule in rules] == [[67], [], [], [2905]]


# As `ss -H -tulnpw` prints it on a fresh cloud image: ssh, DHCP, resolver, time; chronyd's command
# port and the resolver are on loopback.
FRESH = """\
raw UNCONN 0 0 *%ens3:58 *:* users:(("systemd-network",pid=400,fd=20))
raw UNCONN 0 0 0.0.0.0:255 0.0.0.0:* users:(("dhclient",pid=399,fd=9))
udp UNCONN 0 0 192.0.2.5%ens3:68 0.0.0.0:* users:(("systemd-network",pid=400,fd=18))
udp UNCONN 0 0 [fe80::1]%ens3:546 [::]:* users:(("systemd-network",pid=400,fd=19))
udp UNCONN 0 0 127.0.0.1:323 0.0.0.0:* users:(("chronyd",pid=500,fd=5))
udp UNCONN 0 0 [::1]:323 [::]:* users:(("chronyd",pid=500,fd=6))
udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=401,fd=17))
tcp LISTEN 0 4096 127.0.0.54:53 0.0.0.0:* users:(("systemd-resolve",pid=401,fd=20))
udp UNCONN 0 0 0.0.0.0:5355 0.0.0.0:* users:(("systemd-resolve",pid=401,fd=11))
tcp LISTEN 0 4096 [::]:5355 [::]:* users:(("systemd-resolve",pid=401,fd=14))
tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=600,fd=3),("systemd",pid=1,fd=9))
tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=600,fd=4))
tcp LISTEN 0 50 [::ffff:127.0.0.1]:9000 *:* users:(("java",pid=700,fd=4))
"""
# And on one that has been at work for a while.
BUSY = """\
tcp LISTEN 0 4096 0.0.0.0:111 0.0.0.0:* users:(("rpcbind",pid=1,fd=4),("systemd",pid=1,fd=7))
udp UNCONN 0 0 [::]:111 [::]:* users:(("rpcbind",pid=801,fd=5),("systemd",pid=1,fd=8))
udp UNCONN 0 0 0.0.0.0:51820 0.0.0.0:*
udp UNCONN 0 0 0.0.0.0%virbr0:67 0.0.0.0:* users:(("dnsmasq",pid=802,fd=3))
tcp LISTEN 0 10 192.0.2.5:53 0.0.0.0:* users:(("named",pid=801,fd=6))
tcp LISTEN 0 32 192.168.122.1:53 0.0.0.0:* users:(("dnsmasq",pid=802,fd=6))
raw UNCONN 0 0 0.0.0.0:112 0.0.0.0:* users:(("keepalived",pid=803,fd=9))
raw UNCONN 0 0 *:253 *:* users:(("a\x1b[2J\xe9 "),("",pid=804,fd=3))
tcp LISTEN 0 4096 *:8081 *:* users:(("docker-proxy",pid=805,fd=4))
tcp LISTEN 0 4096 *:6443 *:* users:(("systemd",pid=1,fd=4))
"""
SSH = {"name": "ssh", "port": 22, "from": "control"}


def findings(sockets, rules=(), may_close=(), others=()):
    seen = [*(f"socket {line}" for line in sockets.splitlines()), *others]
    return node.firewall_findings(seen, [SSH, *rules], may_close)


def test_a_fresh_host_needs_no_word():
    assert findings(FRESH) == {"problems": [], "notes": []}


def test_the_first_run_asks_about_what_would_be_closed():
    (line,) = findings(FRESH + BUSY)["problems"]
    assert line == (
        "the firewall would close 51820/udp; protocol 253 (a??2J? ?????); 53/tcp, 67/udp (dnsmasq);"
        " vrrp (keepalived); 53/tcp (named); 111/tcp, 111/udp (rpcbind); 6443/tcp (systemd):"
        " declare rules (node_firewall_allow, in a fabric fabric_extra_firewall), or let them be"
        " closed, by port or by program: node_firewall_close:"
        " [51820/udp, a??2J? ?????, dnsmasq, keepalived, named, rpcbind, systemd]"
    )


def test_what_is_declared_or_may_be_closed_is_not_asked_about():
    rules = [
        {"name": "wireguard", "protocol": "udp", "port": 51820, "from": "anywhere"},
        {"name": "guests", "interface": "virbr0", "protocol": "udp", "port": 67, "from": ["::/0"]},
        {"name": "keepalived", "protocol": "vrrp", "from": "fabric"},
        {"name": "kubernetes", "ports": [6443, 10250], "from": "fabric"},
    ]
    may_close = ["rpcbind", "53/tcp", "protocol 253"]
    assert findings(FRESH + BUSY, rules, may_close) == {"problems": [], "notes": []}


def test_later_runs_tell_what_is_closed_from_now_on():
    former = [
        "former",
        'former     ip saddr @fabric4 tcp dport { 22, 111 } accept comment "x"',
        'former     ip saddr { 198.18.0.1 } meta l4proto 112 accept comment "y"',
        'former     udp dport { 67 } accept comment "z"',
    ]
    rules = [{"name": "z", "protocol": "udp", "port": 67, "from": "fabric"}]
    assert findings(FRESH + BUSY, rules, others=former) == {
        "problems": [],
        "notes": [
            "what listens at vrrp (keepalived); 111/tcp (rpcbind) was open, and is closed from now"
            " on"
        ],
    }


def test_where_nobody_can_look_nothing_passes():
    assert "install Debian's iproute2" in findings("", others=["blind"])["problems"][0]
    (line,) = findings("tcp what now")["problems"]
    assert line == "ss says what is not understood: 'socket tcp what now'"


def units(active):
    names = ("firewalld", "fail2ban", "docker", "libvirtd")
    state = {True: ("active", "enabled"), False: ("inactive", "")}
    for name in names:
        running, starts = state[name in active]
        yield from (f"Id={name}.service", f"ActiveState={running}", f"UnitFileState={starts}", "")


def test_other_firewalls_are_refused_and_neighbours_told():
    assert findings(FRESH, others=units(())) == {"problems": [], "notes": []}
    ufw, firewalld = findings(FRESH, others=["beside ufw", *units(("firewalld",))])["problems"]
    assert ufw.startswith("ufw is a second firewall") and "(ufw disable)" in ufw
    assert "(systemctl disable --now firewalld)" in firewalld
    found = findings(FRESH, others=units(("fail2ban", "docker", "libvirtd")))
    assert found["problems"] == []
    assert [note.split()[0] for note in found["notes"]] == ["fail2ban", "ports", "libvirt's"]


def test_the_session_is_found_where_the_environment_was_cleared(tmp_path):
    variables = yaml.safe_load((SOURCE.parents[1] / "roles/node/vars/main.yml").read_text())
    (tmp_path / "probe").write_text(f"{variables['__node_session_sh']}\nsession\n")
    login = ["sh", "-c", f"env -i sh {tmp_path}/probe; true"]
    words = "198.18.0.1 50000 198.18.0.11 22"
    environment = {**os.environ, "SSH_CONNECTION": words}
    done = subprocess.run(login, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{words}\n"
    assert done.stderr == ""
