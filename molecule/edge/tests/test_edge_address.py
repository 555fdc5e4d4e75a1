"""The site through each edge and the shared address, and the address when an edge fails."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conftest import (
    EDGES,
    INSTANCES,
    SHARED,
    Client,
    Watcher,
    holders,
    instance,
    on_both_s,
    playbook,
    settled,
)
from drills import Host, connected, cut_off, frozen
from labs import PREFIX, wait_for


@contextmanager
def stopped(host: Host, unit: str) -> Iterator[None]:
    host(f"systemctl stop {unit}")
    try:
        yield
    finally:
        host(f"systemctl start {unit}")


FAILURES = {"stopped": stopped, "frozen": frozen, "cut off": cut_off}


@pytest.mark.parametrize("name", [*EDGES, "the shared address"])
def test_every_instance_is_reached(name):
    address = connected(name).address if name in EDGES else SHARED
    found = set()
    wait_for(lambda: found.add(instance(address)) or found == {*INSTANCES}, "all instances")


@pytest.mark.parametrize("failure", FAILURES)
def test_the_shared_address_answers_again(failure):
    former = wait_for(settled, "one edge with the address, one that would take it")
    (other,) = {*EDGES} - {former}
    client = Client()
    watchers = [Watcher(name) for name in EDGES]
    wait_for(lambda: client.answered, "the first answer")
    with FAILURES[failure](connected(former), "nginx"):
        wait_for(lambda: holders() == [other], "the other edge with the address")
        moved = time.monotonic()
        wait_for(lambda: client.answered[-1] > moved, "an answer of the other edge")
    now = wait_for(settled, "the former edge, well again")
    client.end()
    for watcher in watchers:
        watcher.end()
    print(
        f"\n{former} {failure}: the shared address answers again after {client.gap_s():.2f} s,"
        f" on both for {on_both_s(*watchers):.2f} s"
    )
    # It stays where it is.
    assert now == other


class Provider:
    """A stand-in for a cloud's API. It keeps the first call waiting, and refuses the second."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.given_up = threading.Event()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                provider.calls.append(self.path)
                if len(provider.calls) == 1:
                    # Its own end, for the caller does not wait for it.
                    provider.given_up.wait(600)
                self.send_response(503 if len(provider.calls) <= 2 else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((f"{PREFIX}.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever).start()

    def close(self) -> None:
        self.given_up.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def test_a_providers_api_moves_the_address(provider):
    unit = "selvage-edge-address"
    url = f"http://{PREFIX}.1:{provider.port}/{{{{ inventory_hostname }}}}"
    command = f'["/usr/bin/curl", "--fail", "--silent", "--show-error", "-X", "PUT", "{url}"]'
    arguments = ("--tags", "edge_address", "--limit", ",".join(EDGES))
    former = wait_for(settled, "one edge with the address, one that would take it")
    (other,) = {*EDGES} - {former}
    run = playbook("site.yml", *arguments, "-e", f'{{"edge_address_command": {command}}}')
    assert run.rc == 0, run.output
    assert settled() == former
    connected(former)("systemctl restart keepalived")
    active = f"systemctl is-active {unit} || true"
    wait_for(lambda: connected(other)(active) == "active\n", "the API's yes")
    assert provider.calls == [f"/{other}"] * 3
    assert connected(former)(active) == "inactive\n"
    told = connected(other)(f"journalctl --unit={unit} --output=cat")
    assert "start operation timed out" in told
    assert "The requested URL returned error: 503" in told
    # Without the command there is nothing left of it.
    run = playbook("site.yml", *arguments)
    assert run.rc == 0, run.output
    assert connected(other)(f"systemctl cat {unit} 2>&1 || true").startswith("No files found")
