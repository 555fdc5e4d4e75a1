"""Systemd hears of the loop only while the checks go on too."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from programs import wait_for
from selvage.checks import CheckResult
from selvage.registrar.checker import Checker
from selvage.registrar.daemon import Registrar
from selvage.registrar.settings import DEFAULT_PATH, Announced, parse

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


class Checks:
    """Checks that hang until `release` is set, on a clock that only goes on when it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.now = 0.0

    def checker(self, instance: Announced, on_change: Callable[[], None]) -> Checker:
        return Checker(instance, on_change, check=self._check, clock=lambda: self.now)

    def _check(self, _: Announced) -> CheckResult:
        self.release.wait(600)
        return CheckResult(True, "fine")


@pytest.fixture
def checks() -> Iterator[Checks]:
    checks = Checks()
    yield checks
    checks.release.set()


def test_a_check_that_hangs_is_stuck_until_it_goes_on(checks: Checks) -> None:
    loop = checks.checker(SETTINGS.instances[0], lambda: None)
    loop.start()
    checks.now = 10.0
    assert not loop.stuck
    checks.now = 10.2
    assert loop.stuck
    checks.release.set()
    wait_for(lambda: not loop.stuck)
    loop.stop()
    loop.join(60)
    assert not loop.is_alive()


def test_the_watchdog_is_not_fed_while_a_check_is_stuck(
    checks: Checks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Checker] = []

    def checker(instance: Announced, on_change: Callable[[], None]) -> Checker:
        made.append(checks.checker(instance, on_change))
        return made[-1]

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")

        def fed() -> bool:
            registrar._step(0)
            said = []
            try:
                while True:
                    said.append(systemd.recv(4096))
            except BlockingIOError:
                return b"WATCHDOG=1" in said

        registrar = Registrar(SETTINGS, DEFAULT_PATH, checker=checker)
        for loop in made:
            loop.start()
        assert fed()
        checks.now = 60.0
        assert not fed()
        checks.release.set()
        wait_for(lambda: not any(loop.stuck for loop in made))
        assert fed()
        registrar._session.close()
