"""Role node's firewall: rules become nftables lines, and what they would close is found."""

from __future__ import annotations

from plugin_utils.rules import check_rules

import firewall


def test_networks_are_sorted_and_never_overlap():
    addresses = ["10.0.0.2", "10.0.0.1", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "10.0.0.1"]
    assert firewall.networks(addresses, 4) == ["10.0.0.1", "10.0.0.2", "10.1.0.0/16"]
    assert firewall.networks(addresses, 6) == ["2001:db8::/32"]


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
    assert firewall.firewall_lines(rules) == expected
    assert firewall.firewall_lines(reversed(rules)) == expected


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
    check_rules(rules, "rules")
    assert firewall.firewall_lines(rules) == [
        'iifname "eth1" meta l4proto 47 accept comment "tunnels"',
        'iifname "virbr*" udp dport { 67 } accept comment "dhcp"',
        'ip saddr { 198.18.0.12 } meta l4proto 112 accept comment "keepalived"',
        'ip6 saddr { fe80::/10 } meta l4proto 112 accept comment "keepalived"',
        'sctp dport { 2905 } accept comment "signals"',
    ]
    assert [firewall.rule_ports(rule) for rule in rules] == [[67], [], [], [2905]]


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
    return firewall.firewall_findings(seen, [SSH, *rules], may_close)


def test_a_fresh_host_needs_no_word():
    assert findings(FRESH) == {"problems": [], "notes": []}


def test_the_first_run_asks_about_what_would_be_closed():
    (line,) = findings(FRESH + BUSY)["problems"]
    assert line == (
        "the firewall would close 51820/udp; protocol 253 (a??2J? ?????); 53/tcp, 67/udp (dnsmasq);"
        " vrrp (keepalived); 53/tcp (named); 111/tcp, 111/udp (rpcbind); 6443/tcp (systemd):"
        " declare rules (node_firewall_allow, in a fabric fabric_extra_firewall), or let them be"
        " closed, by port or by program: node_firewall_close:"
        " [51820/udp, 6443/tcp, a??2J? ?????, dnsmasq, keepalived, named, rpcbind]"
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
