"""Large requests and answers: what ZooKeeper refuses with role `zookeeper`'s options, and bears."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from backup import client
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss

from programs import SMALL, ZooKeeper, wait_for
from selvage.catalogue import Guards
from selvage.registry.reader import TOO_LARGE
from selvage.registry.view import RegistryView

UNIT = Path(__file__).parents[2] / "roles" / "zookeeper" / "templates" / "zookeeper.service.j2"
LIMITS = re.findall(r"-D\S*jute\.\S+", UNIT.read_text())


def test_large_data_does_not_bring_a_member_down(own_zookeeper):
    """Data from before the limits: read at once, it would not fit into the heap."""
    with client(own_zookeeper) as writer:
        for number in range(30):
            writer.create(f"/services/inventory/{number}", bytes(1_000_000), makepath=True)
    own_zookeeper.stop()
    own_zookeeper.launch("-Xmx128m", "-XX:+ExitOnOutOfMemoryError")
    wait_for(lambda: "Mode:" in own_zookeeper.command("srvr"))
    with client(own_zookeeper) as reader:
        for watch in (None, lambda: None):
            view = RegistryView(reader, "/services", {"inventory": Guards()}, watch)
            view.refresh(60)
            assert set(view.content["inventory"].values()) == {TOO_LARGE}
    assert own_zookeeper.process.poll() is None


@pytest.fixture(scope="module")
def zookeeper():
    """Under the role's limits, with data and a long list from a time before them."""
    program = ZooKeeper()
    program.start()
    with client(program) as writer:
        writer.create("/large", bytes(1_000_000))
        writer.create("/many")
        requests = [
            writer.create_async(f"/many/{number:0200}", ephemeral=True) for number in range(4_000)
        ]
        for request in requests:
            request.get(timeout=60)
        program.stop()
        program.launch(*SMALL, *LIMITS)
        wait_for(lambda: "Mode:" in program.command("srvr"))
        wait_for(lambda: writer.connected)
        yield program
    program.close()


def test_a_member_starts_on_data_that_it_would_not_take_any_more(zookeeper):
    with client(zookeeper) as reader:
        assert len(reader.get("/large")[0]) == 1_000_000


def test_large_data_is_refused(zookeeper):
    with client(zookeeper) as writer:
        writer.create("/enough", bytes(200_000))
    with client(zookeeper) as writer, pytest.raises(ConnectionLoss):
        writer.create("/too-large", bytes(300_000))


def test_a_list_may_be_longer_than_a_request(zookeeper):
    with client(zookeeper) as reader:
        assert len(reader.get_children("/many")) == 4_000


def test_a_session_may_end_whose_registrations_are_more_than_a_request(zookeeper):
    """Its end is one transaction with all their paths: a member that can't read it back is dead."""
    with client(zookeeper) as writer:
        ephemeral = KazooClient(zookeeper.host, timeout=60)
        ephemeral.start(60)
        writer.create("/others")
        requests = [
            ephemeral.create_async(f"/others/{number:0200}", ephemeral=True)
            for number in range(12_000)
        ]
        for request in requests:
            request.get(timeout=60)
        ephemeral.stop()
        ephemeral.close()
        wait_for(lambda: not writer.get_children("/others"))
    zookeeper.stop()
    zookeeper.launch(*SMALL, *LIMITS)
    wait_for(lambda: "Mode:" in zookeeper.command("srvr"))
