"""playbooks/maintenance.yml: what cannot be meant is refused in one line."""

from __future__ import annotations

import pytest

from maintenance import maintenance_problem

GOOD = {
    "service": "inventory",
    "server": "198.18.0.21:8080",
    "state": "maint",
    "reason": "new disk",
    "for": "2h",
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"server": "[2001:db8::1]:80"},
        {"for": "30m"},
        {"state": "ready", "reason": "", "for": ""},
    ],
)
def test_good_requests_for_maintenance(change):
    assert maintenance_problem({**GOOD, **change}, ["inventory"]) == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"service": ""}, "-e service=: expected one of inventory, orders, got ''"),
        ({"service": "inventry"}, "-e service=: expected one of inventory, orders, got 'inventry'"),
        ({"server": "app1"}, "-e server=: expected ADDRESS:PORT, such as 198.18.0.21:8080, got"),
        ({"state": "drain"}, "-e state=: expected maint or ready, got 'drain'"),
        ({"reason": ""}, "-e reason=: expected one line for whoever comes next, got ''"),
        ({"reason": "a\nb"}, "-e reason=: expected one line"),
        ({"for": 2}, "-e for=: expected a duration, such as 2h, got '2'"),
    ],
)
def test_bad_requests_for_maintenance(change, problem):
    said = maintenance_problem({**GOOD, **change}, ["inventory", "orders"])
    assert said.startswith(problem)
    assert "\n" not in said
