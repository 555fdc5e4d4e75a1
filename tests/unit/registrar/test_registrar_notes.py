"""Notes of why instances are not registered: what is written, and how seldom."""

from itertools import pairwise

import pytest
from kazoo.exceptions import ConnectionLoss, NoAuthError

from selvage.registrar.announcement import Announcement
from selvage.registrar.announcer import Change, Clash, Outcome
from selvage.registrar.health import Wish
from selvage.registrar.notes import LOOK_S, WRITE_S, Notes, told
from selvage.registry.settings import RegistrySettings

SETTINGS = RegistrySettings(("127.0.0.1:2181",), "/services", 1000, 1000, None, None)
ONE = Announcement("inventory", "app1", "10.0.0.1", 80)
DONE = Outcome(Change.NONE, registered=True)


class Registry:
    """Notes in the place of ZooKeeper's, and what was asked of it."""

    def __init__(self):
        self.now = 0.0
        self.asked = []
        self.answer = DONE
        self.notes = Notes(SETTINGS, None, clock=lambda: self.now)
        self.notes._announcer = self

    def fulfil(self, wishes, limit_s):
        assert limit_s <= 1.0
        self.asked += [
            (self.now, note.data.decode() if wish is Wish.PRESENT else None)
            for note, wish in wishes.items()
        ]
        if isinstance(self.answer, ConnectionLoss):
            raise self.answer
        return dict.fromkeys(wishes, self.answer)

    def keep(self, reason, seconds=0.0):
        """The same reason, each tenth of a second for so long."""
        for _ in range(round(10 * seconds) + 1):
            self.notes.keep({ONE: reason})
            self.now += 0.1


@pytest.fixture
def registry():
    return Registry()


def test_they_stand_beside_the_services():
    assert SETTINGS.notes.root == "/services.notes"


def test_what_a_command_printed_stays_on_its_host():
    assert told("exec", "exit 1: password=secret") == "exit 1"
    assert told("mysql", "replication stopped: 1950: An") == "replication stopped: 1950: An"


def test_a_reason_is_said_at_once_and_taken_away_at_once(registry):
    registry.keep("HTTP 503", 5)
    registry.now += WRITE_S
    registry.keep(None, 100)
    assert [reason for _, reason in registry.asked] == ["HTTP 503", None]


def test_a_flapping_check_and_a_reason_that_changes_write_seldom(registry):
    for number in range(600):
        registry.keep(f"lag {number} s" if number % 3 else None, 1)
    times = [at for at, _ in registry.asked]
    assert len(times) <= registry.now / WRITE_S + 1
    assert min(b - a for a, b in pairwise(times)) >= WRITE_S - 0.01
    registry.keep("the last one", WRITE_S)
    assert registry.asked[-1][1] == "the last one"


def test_a_note_that_stands_is_looked_after(registry):
    registry.keep("HTTP 503", 10 * LOOK_S)
    assert len(registry.asked) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    "answer", [NoAuthError(), ConnectionLoss(), Outcome(Change.NONE, False, Clash(1, "words"))]
)
def test_what_was_not_done_is_tried_again_and_told_once(registry, answer, caplog):
    registry.answer = answer
    registry.keep("HTTP 503", 5 * WRITE_S)
    assert len(registry.asked) == pytest.approx(5, abs=1)
    assert len(caplog.records) == isinstance(answer, Exception)
    registry.answer = DONE
    registry.keep("HTTP 503", WRITE_S + LOOK_S / 2)
    assert len(registry.asked) == pytest.approx(6, abs=1)


def test_what_is_not_decided_stays_as_it_is(registry):
    registry.notes.keep({})
    assert registry.asked == []
