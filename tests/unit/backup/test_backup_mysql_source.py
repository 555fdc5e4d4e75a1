"""What a MySQL member says of itself before a backup is taken from it, and which logs it gives."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from selvage.backup import mysql_source
from selvage.backup.dump import FailedError
from selvage.backup.settings import MySQL
from selvage.mysql import flavours, gtid, session
from selvage.mysql.session import SqlError

MEMBER = MySQL(Path("/socket"), Path("/options"), Path("/programs"))
REPLICATES = {
    **{"Master_Host": "198.18.0.51", "Master_Port": 3306, "Gtid_IO_Pos": "0-1-9"},
    **{"Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Seconds_Behind_Master": 0},
    **{"Last_IO_Errno": 0, "Last_IO_Error": "", "Last_SQL_Errno": 0, "Last_SQL_Error": ""},
}


class Server:
    """Answers as a server with these logs does, each with what was there before it."""

    flavour = flavours.MARIADB

    def __init__(self, replication=None, read_only=0, logs=()):
        self.replication, self.read_only, self.logs = replication, read_only, dict(logs)

    def rows(self, statement):
        if statement == "SHOW ALL SLAVES STATUS":
            return [self.replication] if self.replication else []
        if statement == "SELECT name FROM selvage.cluster":
            return [{"name": "one"}]
        (name,) = (name for name in self.logs if f"'{name}'" in statement)
        return [
            {"Event_type": "Format_desc", "Info": ""},
            {"Event_type": "Gtid_list", "Info": self.logs[name]},
        ]

    def value(self, expression):
        return {
            "@@GLOBAL.gtid_binlog_state": "0-1-7,0-2-9,1-1-3",
            "@@GLOBAL.gtid_slave_pos": "0-1-8",
            "@@GLOBAL.read_only": self.read_only,
            "VERSION()": "11.8.6-MariaDB",
        }[expression]


@pytest.fixture
def look(monkeypatch):
    def looked(server):
        @contextmanager
        def by_file(*_):
            if isinstance(server, Exception):
                raise server
            yield server

        monkeypatch.setattr(session, "by_file", by_file)
        return mysql_source.look(MEMBER)

    return looked


def test_a_primary_tells_how_far_it_is_and_whose_its_data_are(look):
    assert look(Server()) == {
        **{"role": "primary", "position": 12, "version": "11.8.6-MariaDB"},
        **{"cluster": "one", "problem": None},
    }


@pytest.mark.parametrize(
    ("server", "role", "problem"),
    [
        (Server(REPLICATES, 1), "replica", None),
        (
            Server({**REPLICATES, "Seconds_Behind_Master": 301}, 1),
            "replica",
            "is behind its primary, by 301 s",
        ),
        (
            Server({**REPLICATES, "Seconds_Behind_Master": None}, 1),
            "replica",
            "is behind its primary, by an unknown number of s",
        ),
        (Server({**REPLICATES, "Slave_SQL_Running": "No"}, 1), "replica", "does not replicate"),
        (Server(None, 1), "primary", "is read-only and replicates from nobody"),
        (SqlError("it is away"), "replica", "mariadbd: it is away"),
    ],
)
def test_who_can_be_taken(look, server, role, problem):
    told = look(server)
    assert (told["role"], told["problem"]) == (role, problem)


LOGS = {
    "binlog.000001": "[]",
    "binlog.000002": "[0-1-10]",
    "binlog.000003": "[0-1-20,\n0-2-25]",
}


@pytest.mark.parametrize(
    ("since", "names"),
    [
        ("0-2-25", ["000003"]),
        ("0-2-24", ["000002", "000003"]),
        ("0-1-10", ["000002", "000003"]),
        ("0-1-9", ["000001", "000002", "000003"]),
        ("", ["000001", "000002", "000003"]),
    ],
)
def test_the_logs_after_a_position(since, names):
    found = mysql_source._after(Server(logs=LOGS), [*LOGS], gtid.mariadb(since))
    assert [log.name for log in found] == [f"binlog.{name}" for name in names]
    assert found[-1].start == "0-1-20,0-2-25"


def test_a_log_that_does_not_say_where_it_begins():
    class Odd(Server):
        def rows(self, statement):
            return []

    with pytest.raises(FailedError, match=r"binlog.000001 does not say where it begins"):
        mysql_source._log(Odd(), "binlog.000001")
