"""The demonstration service: what it answers, and its drills."""

import contextlib
import http.client
import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "roles/demo_service/files/inventory.py"
spec = importlib.util.spec_from_file_location("inventory", PROGRAM)
assert spec and spec.loader
inventory = importlib.util.module_from_spec(spec)
sys.modules["inventory"] = inventory
spec.loader.exec_module(inventory)


@contextlib.contextmanager
def serving(kind: Any) -> Iterator[http.client.HTTPConnection]:
    server = kind("127.0.0.1", 0, "7")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    yield connection
    connection.close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def service() -> Iterator[http.client.HTTPConnection]:
    with serving(inventory.Server) as connection:
        yield connection


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> tuple[int, Any]:
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_it_says_who_answers_over_one_connection(service: http.client.HTTPConnection) -> None:
    who = {"service": "inventory", "host": socket.gethostname(), "version": "7"}
    assert ask(service, "GET", "/") == (200, who)
    kept = service.sock
    assert ask(service, "GET", "/health") == (200, {"healthy": True})
    assert ask(service, "GET", "/other")[0] == 404
    assert ask(service, "POST", "/other", "{}")[0] == 404
    assert service.sock is kept


class Time:
    """A clock that goes on when somebody sleeps, and at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(inventory, "time", clock)
    return clock


def test_it_is_sick_for_a_while(service: http.client.HTTPConnection, clock: Time) -> None:
    assert ask(service, "POST", "/drill", '{"sick": true, "seconds": 0.2}') == (
        200,
        {"drill": "on"},
    )
    assert ask(service, "GET", "/health") == (503, {"healthy": False})
    assert ask(service, "GET", "/")[0] == 200
    clock.now = 0.2
    assert ask(service, "GET", "/health") == (200, {"healthy": True})


def test_it_is_slow_until_told_otherwise(service: http.client.HTTPConnection, clock: Time) -> None:
    ask(service, "POST", "/drill", '{"slow_ms": 200}')
    assert ask(service, "GET", "/")[0] == 200
    assert clock.now == 0.2
    assert ask(service, "POST", "/drill", '{"seconds": 0}') == (200, {"drill": "off"})
    ask(service, "GET", "/")
    assert clock.now == 0.2


@pytest.mark.parametrize(
    "order",
    [
        *('{"slow": 1}', "[]", "x", '{"slow_ms": -1}', '{"slow_ms": true}', '{"sick": 1}'),
        *('{"seconds": 1e9}', '{"seconds": NaN}', "[" * 5000),
    ],
)
def test_a_drill_that_does_not_fit_is_refused(
    service: http.client.HTTPConnection, order: str
) -> None:
    status, answer = ask(service, "POST", "/drill", order)
    assert status == 400
    assert answer["error"]
    assert ask(service, "GET", "/health")[0] == 200


def test_drills_are_taken_from_loopback_only() -> None:
    class Far(inventory.Server):
        def get_request(self) -> Any:
            return super().get_request()[0], ("198.18.0.9", 40000)

    with serving(Far) as connection:
        assert ask(connection, "POST", "/drill", '{"sick": true}')[0] == 403
        assert ask(connection, "GET", "/health")[0] == 200
