"""An address that two edges share, with real keepalived: who has it, and how soon another one does.

The limits of the waits are generous, because they only end a broken test; the figures are printed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from edges import Edge, Edges

from programs import wait_for


@contextmanager
def stopped(edge: Edge) -> Iterator[None]:
    edge.end(edge.server)
    yield
    edge.serve()


@contextmanager
def frozen(edge: Edge) -> Iterator[None]:
    """It takes connections, and never answers."""
    edge.server.send_signal(signal.SIGSTOP)
    yield
    edge.server.send_signal(signal.SIGCONT)


@contextmanager
def cut_off(edge: Edge) -> Iterator[None]:
    """At the switch: its own link stays up."""
    edge.world("ip", "link", "set", edge.name, "nomaster")
    yield
    edge.world("ip", "link", "set", edge.name, "master", "switch")


@contextmanager
def killed(edge: Edge) -> Iterator[None]:
    """keepalived, all of it at once, so that nobody clears away what it left."""
    file = edge.folder / f"{edge.name}-vrrp.pid"
    vrrp = int(file.read_text())
    edge.keepalived.send_signal(signal.SIGSTOP)
    os.kill(vrrp, signal.SIGKILL)
    edge.keepalived.kill()
    edge.keepalived.wait(60)
    yield
    # As its unit does, which waits until nothing is left. Here a zombie may be, and keepalived
    # would take it for one that runs.
    file.unlink()
    edge.run()


FAILURES = {
    "Nginx stopped": stopped,
    "Nginx frozen": frozen,
    "cut off": cut_off,
    "keepalived killed": killed,
}


@pytest.fixture
def edges(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Edges]:
    both = Edges(tmp_path, **getattr(request, "param", {}))
    try:
        yield both
    finally:
        both.close()


def test_another_edge_takes_the_address_and_keeps_it(edges, capsys):
    edges.start()
    told = [f"both started at once: on both for {edges.on_both():.2f} s"]
    for name, failure in FAILURES.items():
        holder, other = edges.holder, edges.other
        begin = time.monotonic()
        with failure(holder):
            seconds = edges.answered(other, begin)
            if failure is not killed:
                wait_for(lambda one=holder: not one.holds())
        # Well again, and a candidate: the address stays where it is.
        wait_for(lambda one=holder, at=begin: one.is_backup(since=at))
        wait_for(edges.settled)
        assert edges.holder is other
        told.append(
            f"{name}: another edge answers after {seconds:.2f} s,"
            f" on both for {edges.on_both(since=begin):.2f} s"
        )
    with capsys.disabled():
        print("\n" + "\n".join(told))


def test_a_reload_moves_nothing(edges):
    edges.start()
    holder = edges.holder
    for edge in edges.both:
        edge.configure(edge_address_interval="400ms")
        edge.keepalived.send_signal(signal.SIGHUP)
    for edge in edges.both:
        wait_for(lambda one=edge: "Reload complete" in one.log.read_text())
    # What it says from now on it says with the new configuration.
    wait_for(edges.settled)
    begin = time.monotonic()
    with stopped(holder):
        edges.answered(edges.other, begin)
    assert len(holder.held()) == 1


@pytest.mark.parametrize("edges", [{"edge_address_back_after": "2s"}], indirect=True)
def test_the_first_edge_takes_it_back_after_a_delay(edges, capsys):
    edges.start()
    wait_for(lambda: edges.holder is edges.both[0])
    first, second = edges.both
    with stopped(first):
        edges.answered(second, time.monotonic())
    begin = time.monotonic()
    seconds = edges.answered(first, begin)
    wait_for(edges.settled)
    with capsys.disabled():
        print(f"\nback after {seconds:.2f} s, on both for {edges.on_both(since=begin):.2f} s")
