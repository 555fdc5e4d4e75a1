"""MySQL's logs: which of them lead from a backup to a moment, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.backup import logs, manifest
from selvage.fields import Invalid

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def kept(minute, position, service="mysql", since="", cluster="one"):
    """A backup that took a minute, or a pull of logs."""
    moment = START + timedelta(minutes=minute)
    about = {
        "fabric": "shop",
        "service": service,
        "name": manifest.name_of(moment),
        "member": "db2",
        "ended": (moment + timedelta(minutes=1)).isoformat(timespec="seconds"),
    }
    said = {"role": "replica", "version": "11.8.3-MariaDB", "sha256": "0" * 64, "size": 1}
    more = {"encrypted": False, "position": position, "since": since, "cluster": cluster}
    return manifest.complete(about, {**said, **more})


def pulled(minute, since, position, cluster="one"):
    return kept(minute, position, manifest.LOGS, since, cluster)


def at(minute):
    return logs.until(f"{START + timedelta(minutes=minute):%Y-%m-%d %H:%M:%S}", None)


BACKUP = kept(10, "0-1-100")
LOGS = [
    pulled(0, "0-1-10", "0-1-90"),
    pulled(15, "0-1-90", "0-1-120"),
    pulled(30, "0-1-120", "0-1-120"),
    pulled(45, "0-1-120", "0-1-150,0-2-160"),
]


def positions(found):
    return [log.position for log in found]


@pytest.mark.parametrize(
    ("minute", "found"),
    [
        (11, ["0-1-120"]),
        (15, ["0-1-120"]),
        (30, ["0-1-120"]),
        (45, ["0-1-120", "0-1-150,0-2-160"]),
    ],
)
def test_the_logs_up_to_the_first_pull_after_a_moment(minute, found):
    assert positions(logs.chain(BACKUP, LOGS, at(minute))) == found


@pytest.mark.parametrize(("gtid", "count"), [("0-1-101", 1), ("0-1-120", 1), ("0-2-151", 2)])
def test_the_logs_up_to_a_transaction(gtid, count):
    assert len(logs.chain(BACKUP, LOGS, logs.until(None, gtid))) == count


def test_logs_that_overlap_are_no_gap():
    other = [LOGS[1], pulled(30, "0-1-50", "0-1-130"), pulled(45, "0-1-125", "0-1-140")]
    assert len(logs.chain(BACKUP, other, at(40))) == 3


@pytest.mark.parametrize(
    ("given_", "goal", "problem"),
    [
        (LOGS, at(46), r"03:46:00 UTC: the logs .* do not reach so far: 2026-11-22 03:45:00 UTC"),
        ([], at(12), "do not reach so far: none"),
        (LOGS, logs.until(None, "0-2-161"), "do not reach so far: .*0-2-160"),
        (LOGS, at(10), "the backup 20261122T031000Z is later than that"),
        (LOGS, logs.until(None, "0-1-99"), "is later than that"),
        (LOGS[3:], at(40), "logs are missing between 0-1-100 and 0-1-120"),
        # db1 had written what nobody else got.
        (
            [LOGS[1], pulled(45, "0-1-110", "0-1-119,0-2-125")],
            at(40),
            "it lacks 0-1-120 .*, which a failover has lost",
        ),
        ([pulled(15, "0-1-90", "0-1-120", "two")], at(12), "do not reach so far: none"),
    ],
)
def test_what_does_not_lead_there_is_refused(given_, goal, problem):
    with pytest.raises(Invalid, match=problem):
        logs.chain(BACKUP, given_, goal)


@pytest.mark.parametrize(
    ("moment", "gtid", "problem"),
    [
        ("yesterday", None, "'yesterday': expected UTC such as"),
        ("2026-11-22T09:30:00Z", None, "expected UTC such as"),
        (None, "9", "not a GTID of MariaDB"),
        ("2026-11-22 09:30:00", "0-1-9", "give one of them"),
    ],
)
def test_a_goal_that_is_none(moment, gtid, problem):
    with pytest.raises(Invalid, match=problem):
        logs.until(moment, gtid)


def test_the_newest_backup_from_before_the_moment():
    backups = [kept(1, "0-1-10"), BACKUP, kept(20, "0-1-130")]
    assert logs.newest(backups, at(20)) == BACKUP
    assert logs.newest(backups, logs.until(None, "0-1-129")) == BACKUP
    with pytest.raises(Invalid, match="there is no backup from before that"):
        logs.newest(backups, at(1))


def test_logs_go_on_where_they_ended_or_with_the_oldest_backup_of_the_same_data():
    foreign = kept(5, "0-1-99", cluster="two")
    assert logs.since([foreign, BACKUP], [], "one") == "0-1-100"
    assert logs.since([foreign, BACKUP], LOGS[:2], "one") == "0-1-120"
    assert logs.since([foreign, BACKUP], LOGS, "two") == "0-1-99"
    with pytest.raises(Invalid, match="no backup of these data yet"):
        logs.since([BACKUP], LOGS, "three")


def test_a_log_without_anything_new_tells_that_there_was_nothing():
    quiet = [pulled(minute, "0-1-100", "0-1-100") for minute in (5, 15, 30)]
    assert logs.needless([BACKUP], quiet) == [quiet[0].name]
    assert logs.chain(BACKUP, quiet[1:], at(30)) == []


@given(st.integers(10, 150), st.integers(0, 44))
def test_logs_that_no_backup_needs_go(oldest, minute):
    backups = [kept(minute, f"0-1-{oldest}"), kept(50, "0-1-300")]
    gone = {*logs.needless(backups, LOGS)}
    left = [log for log in LOGS if log.name not in gone]
    assert all(int(log.position.split("-")[2]) <= oldest for log in LOGS if log.name in gone)
    assert positions(logs.chain(backups[0], left, at(45)))
    assert {log.name for log in LOGS} == {*logs.needless([kept(10, "0-1-1", cluster="two")], LOGS)}
