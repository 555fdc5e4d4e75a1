"""Another primary under an application's writes, by plan and by force: nothing is lost.

`DRILL_TRIALS=10` repeats each, and tells the median and the worst.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

from conftest import CA, MYSQL, playbook, secrets
from drills import Program, connected, killed
from labs import wait_for
from sightings import Sighting, changes, two_at_once

TRIALS = int(os.environ.get("DRILL_TRIALS", "1"))
WRITES = 3307
WRITERS, RATE = 12, 500
STATUS = "SHOW ALL SLAVES STATUS\\G"
# So many come before anything happens, and after it.
SOME = 500


def ask(name: str, statement: str, *, names: bool = False) -> list[str]:
    """What the host's own server answers root, in lines; none while it is away."""
    words = f"mariadb --batch {'' if names else '--skip-column-names'} || true"
    said = connected(name)(words, statement)
    return [] if "ERROR 2002" in said or "ERROR 2013" in said else said.splitlines()


def settled() -> str | None:
    """The primary's name, once it writes and both others replicate all that it has."""
    looks = {}
    for name in MYSQL:
        said = ask(name, f"SELECT @@read_only, @@gtid_binlog_pos\\G {STATUS}", names=True)
        looks[name] = dict(line.strip().partition(": ")[::2] for line in said if ": " in line)
    primaries = [name for name, found in looks.items() if found.get("@@read_only") == "0"]
    if len(primaries) != 1 or "Master_Host" in looks[primaries[0]]:
        return None
    (primary,) = primaries
    follow = all(
        found.get("@@gtid_binlog_pos") == looks[primary]["@@gtid_binlog_pos"]
        and found.get("Master_Host") == connected(primary).address
        and found.get("Slave_IO_Running") == found.get("Slave_SQL_Running") == "Yes"
        for name, found in looks.items()
        if name != primary
    )
    return primary if follow else None


def program(name: str, **given: object) -> Program:
    """One of those beside this file, on app1."""
    return Program(connected("app1"), Path(__file__).with_name(name), json.dumps(given))


class Drill:
    """An application's writes, and who was writable meanwhile."""

    def __init__(self, run: str) -> None:
        self.run = run
        servers = {name: connected(name).address for name in MYSQL}
        self._watcher = program("mysql_watcher.py", port=WRITES, servers=servers)
        wait_for(lambda: self._watcher.lines, "the watcher")
        login = {"user": "shop", "password": secrets()["mysql_shop"], "ca": CA, "port": WRITES}
        self._writer = program("mysql_writer.py", **login, run=run, writers=WRITERS, rate=RATE)
        self.more("the first writes")

    def more(self, what: str) -> None:
        """Wait for some more acknowledged writes."""
        before = len(self.acknowledged())
        wait_for(lambda: len(self.acknowledged()) > before + SOME, what)

    def acknowledged(self) -> list[tuple[float, int]]:
        """When each write was, and its number."""
        words = [line.split() for line in [*self._writer.lines]]
        return sorted((float(w[0]), int(w[1])) for w in words if len(w) == 2 and w[1].isdigit())

    def end(self) -> None:
        """Both programs; what came of it is known then."""
        self._writer.end()
        self._watcher.end()
        self.seen = [Sighting(*json.loads(line)) for line in self._watcher.lines]

    def figures(self) -> SimpleNamespace:
        """In seconds: no write acknowledged, no server writable, from that one's end to writes."""
        acknowledged = self.acknowledged()
        times = [at for at, _ in acknowledged]
        gap, begin = max((later - one, one) for one, later in pairwise(times))
        ((before, after),) = changes(self.seen)
        own = [s for s in self.seen if s.name == after.name and s.writable]
        through = min(s.answered for s in own if s.place == "sidecar")
        direct = min(s.answered for s in own if s.place != "sidecar")
        # Before the gap, with what made the others busy: a playbook that began.
        rate = sum(at <= begin for at in times) / (begin - times[0])
        return SimpleNamespace(
            gap_s=gap,
            nobody_s=after.first.answered - before.last.asked,
            sidecar_s=max(0.0, through - direct),
            rate=rate,
            rows=len(acknowledged),
        )


@contextmanager
def writes(run: str) -> Iterator[Drill]:
    """An application that writes meanwhile; afterwards no row is missing anywhere."""
    drill = Drill(run)
    try:
        yield drill
        drill.more("writes to the new primary")
    finally:
        drill.end()
    assert two_at_once(drill.seen) == []
    wait_for(settled, "one primary, two replicas")
    wanted = {number for _, number in drill.acknowledged()}
    for name in MYSQL:
        rows = ask(name, f"SELECT number FROM shop.drill WHERE run = '{run}'")
        lost = wanted - {int(row) for row in rows}
        assert not lost, f"{name} lacks {len(lost)} of {len(wanted)}: {sorted(lost)[:10]}"


def tell(what: str, trials: list[SimpleNamespace]) -> None:
    """One line: of each figure the median and the worst."""

    def words(name: str) -> str:
        values = [getattr(trial, name) for trial in trials]
        return f"{median(values):.2f} s" + (f" (worst {max(values):.2f})" if values[1:] else "")

    print(
        f"\n{what}: {len(trials)} trials, 0 of {sum(t.rows for t in trials)} acknowledged writes"
        f" lost, {median(t.rate for t in trials):.0f} writes a second; nobody writable for"
        f" {words('nobody_s')}, the sidecar followed after {words('sidecar_s')}, no write for"
        f" {words('gap_s')}"
    )


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Of the drills alone."""
    yield
    primary = wait_for(settled, "one primary, two replicas")
    ask(primary, "DROP TABLE shop.drill")


def test_a_switchover_there_and_back_loses_nothing():
    first = wait_for(settled, "one primary, two replicas")
    other = next(name for name in MYSQL if name != first)
    trials, paused = [], []
    for number, target in enumerate([other, first] * TRIALS):
        with writes(f"switchover-{number}") as drill:
            run = playbook("mysql_switchover.yml", "-e", f"mysql_new_primary={target}")
            assert run.rc == 0, run.output
        assert settled() == target
        trials.append(drill.figures())
        paused.append(float(re.search(r"no server wrote for\s+([0-9.]+) s", run.output)[1]))
    tell("switchover", trials)
    print(f"as the former primary counts it: {median(paused):.2f} s (worst {max(paused):.2f})")


def test_a_failover_loses_nothing_and_the_former_primary_rejoins():
    trials = []
    for number in range(TRIALS):
        former = wait_for(settled, "one primary, two replicas")
        with writes(f"failover-{number}") as drill:
            with killed(connected(former), "mariadb"):
                run = playbook("mysql_failover.yml")
                assert run.rc == 0, run.output
                drill.more("writes to the new primary")
            # Until it rejoins nobody but the watcher asks it.
            wait_for(partial(ask, former, "SELECT 1"), "the former primary")
            assert ask(former, "SELECT @@read_only") == ["1"]
            run = playbook("mysql.yml")
            assert run.rc == 0, run.output
            assert run.changed == [former], run.output
        assert settled() != former
        trials.append(drill.figures())
    tell("failover", trials)
    again = playbook("mysql.yml")
    assert (again.rc, again.changed) == (0, []), again.output
