"""Each tier does what its roles say."""

import re

import pytest

from conftest import SIDECARS, answering
from labs import PREFIX, host, printed, shell, wait_for

EVERY = ("zk1", "zk2", "zk3", "app1", "app2", "edge1", "ctl1")


@pytest.mark.parametrize("name", EVERY)
def test_nothing_failed(name):
    assert shell(name, "systemctl --failed --no-legend --plain") == ""


@pytest.mark.parametrize("name", EVERY)
def test_every_member_has_a_name(name):
    assert shell(name, "getent hosts zk2").split()[0] == f"{PREFIX}.12"


@pytest.mark.parametrize("name", EVERY)
def test_kernel_is_tuned(name):
    assert int(shell(name, "sysctl -n net.core.somaxconn")) >= 4096


def test_one_leads_and_two_follow():
    script = (
        "python3 -c \"import socket; s = socket.create_connection(('127.0.0.1', 2181), 60);"
        "s.sendall(b'srvr'); print(b''.join(iter(lambda: s.recv(4096), b'')).decode())\""
    )

    def modes():
        return [re.findall(r"Mode: (\w+)", printed(name, script)) for name in ("zk1", "zk2", "zk3")]

    # A drill may have just restarted them.
    wait_for(lambda: sorted(modes()) == [["follower"], ["follower"], ["leader"]], "one leader")


@pytest.mark.parametrize("name", SIDECARS)
def test_sockets_are_open_to_the_reconciler_alone(name):
    owners = "haproxy:selvage-reconciler"
    for path in ("/run/haproxy/admin.sock", "/run/haproxy/master.sock"):
        assert shell(name, f"stat -c '%U:%G %a' {path}").split() == [owners, "660"]
    assert shell(name, "stat -c '%U:%G %a' /run/haproxy").split() == [owners, "2750"]
    assert shell(name, "getent group selvage-reconciler").endswith(":\n")


@pytest.mark.parametrize("name", SIDECARS)
def test_open_files_match_the_connections(name):
    limits = shell(name, "cat /proc/$(pgrep -o haproxy)/limits")
    assert int(re.search(r"Max open files\s+(\d+)", limits)[1]) > 2 * 4096


def test_firewall_opens_only_what_was_declared():
    # From a member: the instance answers, and ssh does not, because it is no control address.
    assert (
        shell("edge1", f"curl -s -m 60 {PREFIX}.21:8080/health -o /dev/null -w '%{{http_code}}'")
        == "200"
    )
    closed = "timeout 3 bash -c 'exec 3<>/dev/tcp/%s/%s'"
    assert host("edge1").run(closed % (f"{PREFIX}.21", 22)).rc != 0
    assert host("edge1").run(closed % (f"{PREFIX}.21", 8404)).rc != 0
    assert host("app1").run(closed % (f"{PREFIX}.11", 2888)).rc != 0
    opened = closed.replace("timeout 3", "timeout 60")
    assert host("app1").run(opened % (f"{PREFIX}.11", 2181)).rc == 0


@pytest.mark.parametrize("name", SIDECARS)
def test_both_instances_answer_on_every_sidecar(name):
    assert answering(name) == {"app1", "app2"}
