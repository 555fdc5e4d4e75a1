"""What runs on a host already, and its guests, when the firewall comes."""

import pytest

from conftest import COMPUTER, WAYS, provision

GUESTS = """
set -e
ip link add virbr0 type bridge
ip address add 192.0.2.1/24 dev virbr0
ip link set virbr0 up
ip netns add guest
ip link add guest0 type veth peer name eth0 netns guest
ip link set guest0 master virbr0 up
ip -n guest address add 192.0.2.2/24 dev eth0
ip -n guest link set eth0 up
ip -n guest route add default via 192.0.2.1
sysctl --quiet net.ipv4.ip_forward=1
nft 'table ip guests { chain c { type nat hook postrouting priority 100; masquerade; }; }'
systemd-run --quiet --collect --unit=guests dnsmasq --keep-in-foreground --conf-file=/dev/null \\
  --interface=virbr0 --except-interface=lo --bind-dynamic --no-resolv --no-ping --leasefile-ro \\
  --dhcp-range=192.0.2.10,192.0.2.10 --address=/gateway.example/192.0.2.1
systemd-run --quiet --collect --unit=others python3 -c '
import signal, socket
# In UTF-8 this name begins with the end of a line, and what follows would say: no first run.
open("/proc/self/comm", "wb").write(b"\\xe2\\x80\\xa8former")
kept = [
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 112),
    socket.create_server(("", 8081)),
    socket.create_server(("127.0.0.1", 8082)),
]
signal.pause()'
systemd-run --quiet --collect --unit=fail2ban sleep infinity
mkdir -p /etc/ufw
echo ENABLED=yes > /etc/ufw/ufw.conf
until ss -H -ulnp | grep -q dnsmasq && ss -H -tln | grep -q 8082; do sleep 0.2; done
"""
GONE = """
systemctl stop guests others fail2ban
nft delete table ip guests
ip netns delete guest
ip link delete virbr0
rm -rf /etc/ufw
"""
# What a guest does: ask for an address, for a name, and for something beyond its host.
ASK = """
import socket, struct

def answer(port, question, where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        asking.bind(("", port))
        asking.settimeout(30)
        asking.sendto(question, where)
        return asking.recv(1500)

discover = struct.pack("!4B I 2H 16x 6s 202x", 1, 1, 6, 0, 7, 0, 0x8000, b"\\2\\0\\0\\0\\0\\1")
discover += bytes([99, 130, 83, 99, 53, 1, 1, 255])
print("address", socket.inet_ntoa(answer(68, discover, ("255.255.255.255", 67))[16:20]))
name = b"\\7gateway\\7example\\0"
query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)
print("name", socket.inet_ntoa(answer(0, query, ("192.0.2.1", 53))[-4:]))
socket.create_connection(("COMPUTER", 3142), 30)
print("beyond")
""".replace("COMPUTER", COMPUTER)
DNS = {"name": "names", "interface": "virbr0", "protocol": "udp", "port": 53, "from": "anywhere"}
RULES = [
    {"name": "addresses", "interface": "virbr*", "protocol": "udp", "port": 67, "from": "anywhere"},
    {"name": "keepalived", "protocol": "vrrp", "from": "fabric"},
    {"name": "tunnels", "interface": "eth9", "protocol": "gre", "from": ["fe80::/10"]},
]


@pytest.fixture
def guests(console, rules):
    """A hypervisor's bridge with one guest, and programs that listen."""
    console(GONE, check=False)
    console(GUESTS)
    yield lambda: console("ip netns exec guest python3 -", text=ASK)
    console(GONE, check=False)


def test_what_runs_on_a_host_is_asked_about_once_and_its_guests_are_served(
    console, folder, rules, guests
):
    asked = provision(console, folder, WAYS["root"], check=True)
    assert asked.rc != 0, asked.output
    assert "ufw is a second firewall" in asked.words
    closed = "8081/tcp, vrrp (???former); 53/tcp, 53/udp, 67/udp (dnsmasq)"
    assert f"the firewall would close {closed}: declare rules" in asked.words, asked.words

    console("rm /etc/ufw/ufw.conf")
    # TCP's 53 is closed by its word, the others are declared.
    close = ["sshd", "53/tcp", "8081/tcp"]
    run = provision(
        *(console, folder, WAYS["root"]),
        node_firewall_allow=[*RULES, DNS],
        node_firewall_close=close,
    )
    assert run.rc == 0 and "fail2ban bans in a table of its own" in run.words, run.output
    assert guests().split() == ["address", "192.0.2.10", "name", "192.0.2.1", "beyond"]

    later = provision(console, folder, WAYS["root"], check=True, node_firewall_allow=RULES)
    assert later.rc == 0 and 'iifname "virbr0" udp dport 53' in rules(), later.output
    assert "what listens at 53/udp (dnsmasq) was open, and is closed from now on" in later.words
