"""Many watchers in one process: run as `python3 crowd.py CONFIG COUNT`, ended by a signal.

It prints how many seconds each of them has chosen to wait after a lost connection.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from selvage.reconciler import daemon, settings
from selvage.reconciler.daemon import Daemon


class Chance:
    @staticmethod
    def uniform(low: float, high: float) -> float:
        chosen = random.uniform(low, high)
        # One write: many threads share the stream.
        os.write(1, f"{chosen}\n".encode())
        return chosen


daemon.random = Chance
path, count = Path(sys.argv[1]), int(sys.argv[2])
logging.disable()
chosen = settings.load(path)
threads = []
for number in range(count):
    own = Path(chosen.state_directory, f"{number}")
    own.mkdir()
    # As on nodes of their own, nobody waits for another's lock.
    one = Daemon(replace(chosen, state_directory=str(own)), path)
    threads.append(threading.Thread(target=one.run))
# Only a main thread may set handlers; the default ones end this process.
signal.signal = lambda *_: None
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
