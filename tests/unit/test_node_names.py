"""Role node: /etc/hosts has every member's names, and the node's own are kept."""

from __future__ import annotations

import pytest

import node_names as hosts


@pytest.mark.parametrize(
    ("name", "hostname", "fqdn", "line"),
    [
        ("app1", "app1", "", "app1"),
        ("app1", "app1", "app1", "app1"),
        # The long name that the node has, and the one that it gets.
        ("app1", "app1", "app1.corp.example", "app1.corp.example app1"),
        ("app1.example.net", "app1", "app1", "app1.example.net app1"),
        ("app1.example.net", "app1.example.net", "app1.example.net", "app1.example.net app1"),
        # Called otherwise by the inventory.
        ("App_1", "ip-10-0-0-5", "", "ip-10-0-0-5 App_1"),
        ("app1.example.net", "host5", "host5.cloud", "host5.cloud host5 app1.example.net app1"),
        ("app1", "host5.cloud", "host5.cloud", "host5.cloud host5 app1"),
        ("APP1", "app1", "app1.corp", "app1.corp app1"),
        ("192.0.2.21", "app1", "app1.corp", "app1.corp app1"),
        # What is no name, or somebody else's.
        ("app1", "localhost", "localhost.localdomain", "app1"),
        ("app1", "app1", "app1 evil\n192.0.2.9 bank", "app1"),
        ("app1", "app2", "app2.corp.example", "app2.corp.example app1"),
        ("app1", "app2", "app2.example.net", "app1"),
    ],
)
def test_a_node_keeps_its_own_names(name, hostname, fqdn, line):
    nodes = [{"name": name, "address": "192.0.2.21"}]
    nodes.append({"name": "app2.example.net", "address": "192.0.2.22"})
    own = hosts.own_names(nodes, "192.0.2.21", hostname, fqdn)
    assert {*hosts.hosts_lines(nodes, "192.0.2.21", own)} == {
        f"192.0.2.21 {line}",
        "192.0.2.22 app2.example.net app2",
    }
    # What it is called then is what the next run finds.
    again = hosts.own_names(nodes, "192.0.2.21", hostname, own[0])
    assert again == own


def test_a_short_name_is_nobody_elses():
    names = ["app1.example.net", "app1.example.org", "db.example.net", "DB", "zk1.example.net"]
    nodes = [{"name": name, "address": f"192.0.2.{n}"} for n, name in enumerate(names)]
    assert hosts.hosts_lines(nodes, "192.0.2.9", []) == [
        "192.0.2.3 DB",
        "192.0.2.0 app1.example.net",
        "192.0.2.1 app1.example.org",
        "192.0.2.2 db.example.net",
        "192.0.2.4 zk1.example.net zk1",
    ]
    assert hosts.hosts_lines(nodes[::-1], "192.0.2.9", []) == hosts.hosts_lines(nodes, "", [])


def test_own_names_leave_loopback_and_nothing_else():
    text = """\
## template:jinja
{# The value '{{hostname}}' will be replaced with the local-hostname -#}
127.0.1.1 {{fqdn}} {{ hostname }}
127.0.1.1\tAPP1.example.net app1 # by the installer
127.0.1.1 app1.example.net gitlab.local app1 # ours
127.0.0.1 localhost app1
::1 localhost ip6-localhost
192.0.2.21 app1.example.net app1
# 127.0.1.1 app1"""
    assert (
        hosts.without_names(text, ["app1.example.net", "app1"])
        == """\
## template:jinja
{# The value '{{hostname}}' will be replaced with the local-hostname -#}
127.0.1.1 gitlab.local # ours
127.0.0.1 localhost
::1 localhost ip6-localhost
192.0.2.21 app1.example.net app1
# 127.0.1.1 app1"""
    )
