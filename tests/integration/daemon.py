"""The reconciler daemon under a systemd of our own."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from programs import wait_for

MODULES = Path(__file__).parents[2] / "module_utils"


class Daemon:
    """`python3 -m selvage.reconciler` under a systemd of our own."""

    def __init__(self, fabric, folder):
        self.config = folder / "reconciler.json"
        self.fabric = fabric
        self._said = queue.SimpleQueue()
        self._log = folder / "watcher.log"
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(folder / "notify"))
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self._environment = os.environ | {
            "NOTIFY_SOCKET": str(folder / "notify"),
        }
        # As in the unit.
        self.watchdog_s = 60
        self.process = None

    def configure(self):
        self.config.write_text(json.dumps(self.fabric.document))

    def start(self, *program):
        self.configure()
        command = [sys.executable, *(program or ("-m", "selvage.reconciler"))]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(self.config)],
                cwd=MODULES,
                env=self._environment | {"WATCHDOG_USEC": f"{self.watchdog_s}000000"},
                stderr=log,
            )
        wait_for(lambda: self.heard("READY=1"))

    def _listen(self):
        # A socket that nobody reads is soon full, and its writer stands still.
        while message := self._systemd.recv(4096):
            self._said.put(message.decode())

    def heard(self, word):
        """Whether it has said this to systemd since the last time someone asked."""
        said = [self._said.get() for _ in range(self._said.qsize())]
        return any(line.startswith(word) for message in said for line in message.splitlines())

    @property
    def log(self):
        return self._log.read_text()

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            code = self.process.wait(60)
            self.process = None
            return code
        return None

    def close(self):
        self.stop(signal.SIGKILL)
        # Who still listened to a closed socket could take what others read from the next one.
        self._systemd.shutdown(socket.SHUT_RD)
        self._listener.join()
        self._systemd.close()
