"""A clash is told at once, with what to do when it lasts, and then ever less often."""

from __future__ import annotations

import logging

import pytest

from selvage.registrar.announcement import Announcement
from selvage.registrar.announcer import Clash
from selvage.registrar.clashes import Clashes

ONE = Announcement("inventory", "app1", "198.18.0.21", 8080)
OTHER = Clash(0x1_0000_0001, '{"host":"198.18.0.22"}')
WAITING = "waiting for the end of a session that is not ours"
LASTING = "another host registers under this name: give each its own `node`"
OURS = "nobody else has this name any more"


def test_a_clash_from_its_begin_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clashes = Clashes(patience_s=20)
    caplog.set_level(logging.INFO)
    told: list[tuple[int, str]] = []
    for second in range(10_000):
        caplog.clear()
        clashes.follow(ONE, OTHER, float(second))
        told += [(second, record.getMessage().split(" service=")[0]) for record in caplog.records]
    assert told == [
        (0, WAITING),
        *[(second, LASTING) for second in (20, 80, 200, 440, 920, 1_880, 3_800, 7_400)],
    ]
    assert clashes.names == ["app1_8080"]
    caplog.clear()
    clashes.follow(ONE, None, 10_000)
    clashes.follow(ONE, None, 10_001)
    assert [record.getMessage() for record in caplog.records] == [
        f"{OURS} service=inventory child=app1_8080"
    ]
    assert clashes.names == []


def test_each_line_says_where_and_who(caplog: pytest.LogCaptureFixture) -> None:
    clashes = Clashes(patience_s=0)
    clashes.follow(ONE, Clash(-1, "a\\nb"), 0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert caplog.records[1].getMessage() == (
        f'{LASTING} service=inventory child=app1_8080 session=0xffffffffffffffff data="a\\\\nb"'
    )


def test_another_host_that_starts_again_and_again_is_one_clash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clashes = Clashes(patience_s=20)
    for second in range(20):
        clashes.follow(ONE, Clash(second + 1, "x"), second)
    assert LASTING not in caplog.text
    clashes.follow(ONE, Clash(7, "x"), 20)
    assert LASTING in caplog.text


def test_what_belongs_to_no_session_does_not_end_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Clashes(patience_s=20).follow(ONE, Clash(0, "mine"), 0)
    (record,) = caplog.records
    assert record.getMessage().startswith("this name was registered by hand: delete the znode")
