"""The beat of an application, on one host of the fabric at a time.

`hold` runs with Debian's Python, which has kazoo: it takes the application's lock in ZooKeeper and
starts `run`, with the application's own Python, for as long as the session lasts. `run` hears from
it each second, and ends at once when it does not: whoever freezes or loses its session has no beat
by the time another one may have one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings

SESSION_SECONDS = 10.0
# kazoo notices a dead connection after two thirds of the session at the latest.
SILENCE_SECONDS = 2.5
# What another host's beat has done since is not in this host's file.
FORGET_SECONDS = 600


def hold(settings: Settings, file: Path) -> int:
    """Wait for the lock, then keep a beat as long as it is ours."""
    from kazoo.client import KazooClient, KazooState

    ended = threading.Event()
    held = False

    def told(*_: object) -> None:
        if not held:
            raise SystemExit(0)
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    client = KazooClient(settings.registry, timeout=SESSION_SECONDS)

    def heard(state: str) -> None:
        # Before the lock is held a lost session is kazoo's to mend.
        if held and state != KazooState.CONNECTED:
            ended.set()

    client.add_listener(heard)
    client.start(timeout=60)
    lock = client.Lock(f"/selvage/beats/{settings.name}", os.uname().nodename)
    try:
        print("waits for the lock", flush=True)
        lock.acquire()
        held = True
        # The session may have ended before anybody listened.
        if not client.exists(f"{lock.path}/{lock.node}"):
            return 1
        print("has the lock", flush=True)
        return _keep(settings, file, ended)
    finally:
        client.stop()
        client.close()


def _keep(settings: Settings, file: Path, ended: threading.Event) -> int:
    schedule = settings.state / "beat-schedule"
    mark = settings.state / "beat"
    if not mark.exists() or time.time() - mark.stat().st_mtime > FORGET_SECONDS:
        for old in settings.state.glob("beat-schedule*"):
            old.unlink()
    command = [settings.python, sys.argv[0], "--settings", str(file), "beat-run", str(schedule)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin  # noqa: S101 - for the type checker
        while child.poll() is None and not ended.is_set():
            mark.touch()
            try:
                child.stdin.write(b".")
                child.stdin.flush()
            except BrokenPipeError:
                break
            ended.wait(0.5)
        child.terminate()
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
        return child.wait() if not ended.is_set() else 0


def run(settings: Settings, schedule: str) -> None:
    """Celery's beat, which ends with whoever started it."""
    threading.Thread(target=_listen, daemon=True).start()
    from .settings import load

    app = load(settings)
    app.start(["beat", "--loglevel=INFO", f"--schedule={schedule}", "--pidfile="])


def _listen() -> None:
    while select.select([0], [], [], SILENCE_SECONDS)[0] and os.read(0, 4096):
        pass
    os.write(2, b"nobody holds the lock any more\n")
    os._exit(1)
