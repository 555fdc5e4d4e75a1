"""Two servers in two services, one for each role, as HAProxy finds them."""

from __future__ import annotations

from programs import wait_for

ROLES = ("primary", "replica")


class TwoRoles:
    """What the tests of Redis and of MySQL share; `fabric` has the services, named after roles."""

    def __init__(self, fabric) -> None:
        self.fabric = fabric

    def up(self, service):
        """Who has traffic, by HAProxy's own checks."""
        rows = self.fabric.haproxy.servers(service)
        assert len(rows) == 2
        return {row["srv_addr"] for row in rows.values() if row["srv_op_state"] == "2"}

    def settles(self, primary, replica):
        """Wait until these, and no others, have each role's traffic."""
        wait_for(lambda: (self.up("primary"), self.up("replica")) == (primary, replica))
