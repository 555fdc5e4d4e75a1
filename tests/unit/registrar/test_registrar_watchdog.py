"""Systemd hears of the loop only while the checks go on too."""

import threading
from collections.abc import Iterator

import pytest

from programs import wait_for
from selvage.checks import CheckResult
from selvage.registrar import checker
from selvage.registrar.checker import Checker
from selvage.registrar.daemon import Registrar
from selvage.registrar.settings import DEFAULT_PATH, parse
from selvage.system import systemd

SETTINGS = parse(
    {
        "registry": {"hosts": ["127.0.0.1:1"]},
        "node": "app1",
        "address": "127.0.0.1",
        "state_directory": "/nonexistent",
        "instances": [
            {"service": "s", "port": 1, "check": {"interval": "100ms", "timeout": "100ms"}}
        ],
    }
)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Checks answer once this is set, and hang until then."""
    event = threading.Event()

    def check(_: object) -> CheckResult:
        event.wait(600)
        return CheckResult(True, "fine")

    monkeypatch.setattr(checker, "check", check)
    yield event
    event.set()


class Time:
    """A clock that only goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(checker, "time", clock)
    return clock


def test_a_check_that_hangs_is_stuck_until_it_goes_on(
    release: threading.Event, clock: Time
) -> None:
    loop = Checker(SETTINGS.instances[0], lambda: None)
    loop.start()
    clock.now = 10.0
    assert not loop.stuck
    clock.now = 10.2
    assert loop.stuck
    release.set()
    wait_for(lambda: not loop.stuck)
    loop.stop()
    loop.join(60)
    assert not loop.is_alive()


def test_the_watchdog_is_not_fed_while_a_check_is_stuck(
    release: threading.Event, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setattr(systemd, "notify", said.append)
    registrar = Registrar(SETTINGS, DEFAULT_PATH)
    for loop in registrar._checkers:
        loop.start()
    registrar._step(0)
    assert "WATCHDOG=1" in said
    clock.now = 60.0
    said.clear()
    registrar._step(0)
    assert "WATCHDOG=1" not in said
    release.set()
    wait_for(lambda: not any(loop.stuck for loop in registrar._checkers))
    registrar._step(0)
    assert "WATCHDOG=1" in said
    registrar._session.close()
