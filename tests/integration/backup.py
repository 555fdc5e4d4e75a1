"""A registry whose transactions count from an earlier number than before, as after a restore."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

from programs import ZooKeeper


@contextmanager
def client(zookeeper: ZooKeeper) -> Iterator[KazooClient]:
    client = KazooClient(",".join(zookeeper.hosts), timeout=60)
    client.start(60)
    yield client
    client.stop()
    client.close()


def age(zookeeper: ZooKeeper) -> None:
    """More transactions than any test makes in a registry that was restored."""
    with client(zookeeper) as writer:
        writer.create("/aged")
        for request in [writer.set_async("/aged", b"") for _ in range(1_000)]:
            request.get(timeout=60)


def restore(zookeeper: ZooKeeper) -> None:
    """An empty backup."""
    zookeeper.stop()
    shutil.rmtree(zookeeper.folder / "data")
    zookeeper.start()
