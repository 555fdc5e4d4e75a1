"""`kill -9` at every point of a run: HAProxy can restart at any time, the next run repairs it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import MODULES


@pytest.fixture
def mortal(fabric, tmp_path):
    """Make a run that dies at its n-th point; the point, None when the run was over before.

    `passed` has the points of the runs that were. A busy HAProxy has some commands repeated, so
    the numbers of two runs need not be the same points: what was met is not asked of the kills.
    """
    config = tmp_path / "reconciler.json"
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("mortal.py"), config],
        env=os.environ | {"PYTHONPATH": str(MODULES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(point):
        config.write_text(json.dumps(fabric.document))
        process.stdin.write(f"{point}\n")
        process.stdin.flush()
        said = process.stdout.readline().strip()
        if not said.startswith("done "):
            return said
        run.passed += json.loads(said.removeprefix("done "))
        return None

    run.passed = []
    yield run
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


class World:
    """A fabric that goes to and fro between two states of registry and catalogue."""

    def __init__(self, fabric, states):
        self.fabric = fabric
        self.states = states
        self.settled = []
        for number in range(len(states)):
            self.change(number)
            assert fabric.reconcile().problems == ()
            self.settled.append(self.running())

    def change(self, number):
        self.fabric.document["services"], content = self.states[number]
        for service in ("inventory", "orders"):
            path = f"{self.fabric.root}/{service}"
            self.fabric.client.ensure_path(path)
            new = dict(content.get(service, {}))
            transaction = self.fabric.client.transaction()
            for child in self.fabric.client.get_children(path):
                if child in new:
                    transaction.set_data(f"{path}/{child}", new.pop(child))
                else:
                    transaction.delete(f"{path}/{child}")
            for child, data in new.items():
                transaction.create(f"{path}/{child}", data)
            transaction.commit()

    def running(self):
        """Per service the servers with weight, administrative and operational state."""
        return {
            service: {
                name: (row["srv_uweight"], row["srv_admin_state"], row["srv_op_state"])
                for name, row in self.fabric.haproxy.servers(service).items()
            }
            for service in ("inventory", "orders")
        }

    def restart(self):
        self.fabric.haproxy.stop()
        self.fabric.haproxy.start()
        return self.running()


def data(instance, **more):
    return json.dumps({"host": "127.0.0.1", "port": instance.port, **more}).encode()


def runtime_changes(fabric):
    """One joins, one leaves, one changes in place, one is replaced; and all the other way."""
    fabric.service()
    stays, turns, joins, leaves = (
        fabric.instance(n) for n in ("stays", "turns", "joins", "leaves")
    )
    services = [*fabric.document["services"]]
    return [
        (services, {"inventory": {"s": data(stays), "t": data(turns), "l": data(leaves)}}),
        (
            services,
            {
                "inventory": {
                    "s": data(stays, weight=9),
                    "t": data(turns, haproxy_server_options="backup"),
                    "j": data(joins),
                }
            },
        ),
    ]


def changes_of_the_catalogue(fabric):
    """A service is new, and an instance joins another one; then the service goes."""
    fabric.document["reload_interval"] = "100ms"
    stays, joins = fabric.instance("stays"), fabric.instance("joins")
    fabric.service()
    fabric.service("orders")
    both = fabric.document["services"]
    return [
        (both[:1], {"inventory": {"s": data(stays)}}),
        (both, {"inventory": {"s": data(stays), "j": data(joins)}, "orders": {"s": data(stays)}}),
    ]


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        (runtime_changes, ["rename", " weight ", "add server", "state drain", "del server"]),
        (changes_of_the_catalogue, ["Popen", "rename", "reload"]),
    ],
)
def test_a_run_that_is_killed_anywhere_is_made_good(fabric, mortal, changes, seen):
    world = World(fabric, changes(fabric))
    for point in itertools.count():
        killed = []
        for number in (0, 1):
            world.change(number)
            killed.append(mortal(point))
            if number:
                assert world.restart() in world.settled, killed
            assert fabric.reconcile().problems == (), killed
            assert world.running() == world.settled[number], killed
            assert not fabric.reconcile().changed, killed
        if killed == [None, None]:
            break
    assert [word for word in seen if any(word in point for point in mortal.passed)] == seen
