"""Checks of a member of a replicated store: its role, and how far a replica is behind.

HAProxy's checks see the role alone. These ask the member what it knows of its replication, and
judge (pure) over what it said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..checks import CheckResult, failed, one_line
from ..fields import Invalid
from ..mysql import flavours, gtid, servers, wire
from ..redis import facts, resp
from ..system.conversation import Conversation, over_socket, over_tcp
from .settings import CheckSettings

Row = Mapping[str, str | None]
_ERROR_CHARACTERS: Final = 140
# Not the one of "can't".
_QUOTE: Final = re.compile(r"(?<!\w)['\"`]")
# Which way to log in is the server's to say, by the account.
_PLUGIN: Final = "auth_socket"
_TOLD: Final = "@@global.read_only AS read_only"
_POSITIONS: Final = (
    ", @@global.server_id AS server_id, @@global.gtid_binlog_pos AS binlog_pos,"
    " @@global.gtid_slave_pos AS slave_pos"
)


def redis(address: str, port: int, check: CheckSettings) -> CheckResult:
    """Ask a Redis server at its address, over TLS where there is a CA."""
    try:
        with over_tcp(address, port, check.timeout_s, check.ca) as conversation:
            if check.user is not None:
                # A user without a password is let in with any, and must show one.
                _ask(conversation, "AUTH", check.user, check.user)
            told = facts.info(_ask(conversation, "INFO", "replication"))
    except (resp.MalformedError, facts.OddError) as error:
        return CheckResult(False, one_line("not understood", str(error).encode()))
    except OSError as error:
        return failed(error, check.timeout_s)
    return judge_redis(told, check.role, check.max_lag_s)


def _ask(conversation: Conversation, *words: str) -> str:
    conversation.send(resp.command(words))
    answer = conversation.parsed(resp.parse)
    if isinstance(answer, resp.Complaint):
        raise facts.OddError(answer.text)
    if not isinstance(answer, str):
        raise facts.OddError(f"no text as an answer to {words[0]}")
    return answer


def judge_redis(told: Mapping[str, str], role: str | None, max_lag_s: float) -> CheckResult:
    """A server by its fields of `INFO replication`."""
    found = told.get("role")
    if found not in ("master", "slave"):
        return CheckResult(False, "it does not say its role")
    if role == "primary":
        return CheckResult(
            found == "master", "a primary" if found == "master" else "it is a replica"
        )
    if found == "master":
        return CheckResult(False, "it is a primary")
    if told.get("master_sync_in_progress", "0") != "0":
        return CheckResult(False, "it is copying its primary's data")
    if told.get("master_link_status") != "up":
        return CheckResult(False, "its link to the primary is down")
    heard = told.get("master_last_io_seconds_ago", "")
    return _lag(int(heard) if heard.isdecimal() and len(heard) < 10 else None, max_lag_s)


def _lag(seconds: int | None, max_lag_s: float) -> CheckResult:
    if seconds is None:
        return CheckResult(False, "nobody knows its lag")
    if seconds > max_lag_s:
        return CheckResult(False, f"lag {seconds} s, more than {max_lag_s:g} s")
    return CheckResult(True, f"a replica, lag {seconds} s")


def mysql(check: CheckSettings) -> CheckResult:
    """Ask this host's MariaDB or MySQL as the daemon's own user, whom the socket proves."""
    try:
        with over_socket(check.socket, check.timeout_s) as conversation:
            flavour = flavours.of(_login(conversation, check.user or ""))
            sources = _query(conversation, flavour.status)
            more = _POSITIONS if flavour is flavours.MARIADB else ""
            (told,) = _query(conversation, f"SELECT {_TOLD}{more}")
            conversation.send(wire.QUIT)
            return judge_mysql(sources, told, check.role, check.max_lag_s)
    except wire.RefusedError as error:
        return CheckResult(False, one_line("it answers", str(error).encode()))
    except (wire.MalformedError, Invalid, KeyError, ValueError, TypeError) as error:
        return CheckResult(False, one_line("not understood", str(error).encode()))
    except OSError as error:
        return failed(error, check.timeout_s)


def _login(conversation: Conversation, user: str) -> str:
    """The server's version."""
    _, greeting = conversation.parsed(wire.parse)
    version = wire.version(greeting)
    conversation.send(wire.login(user, _PLUGIN))
    number, answer = conversation.parsed(wire.parse)
    if wire.asks_for_another_way(answer):
        # The socket has said who we are: there is nothing to add.
        conversation.send(wire.packet(number + 1, b""))
        _, answer = conversation.parsed(wire.parse)
        if wire.asks_for_another_way(answer):
            raise wire.MalformedError("a login without an end")
    return version


def _query(conversation: Conversation, statement: str) -> list[Row]:
    conversation.send(wire.query(statement))
    names = []
    for _ in range(wire.columns(conversation.parsed(wire.parse)[1])):
        names.append(wire.column(conversation.parsed(wire.parse)[1]))
    if not wire.is_end(conversation.parsed(wire.parse)[1]):
        raise wire.MalformedError("more columns than it said")
    rows: list[Row] = []
    while not wire.is_end(body := conversation.parsed(wire.parse)[1]):
        if len(rows) == wire.ROWS:
            raise wire.MalformedError("more rows than any result has")
        rows.append(wire.row(body, names))
    return rows


def judge_mysql(
    sources: Sequence[Row], told: Row, role: str | None, max_lag_s: float
) -> CheckResult:
    """A server by its rows of SHOW REPLICA STATUS, one for each source, and its variables."""
    read_only = told["read_only"] != "0"
    if role == "primary":
        if sources:
            return CheckResult(False, "it is a replica")
        return CheckResult(not read_only, "it is read-only" if read_only else "a primary")
    if not sources:
        return CheckResult(False, "it replicates from nobody" if read_only else "it is a primary")
    if not read_only:
        return CheckResult(False, "it is writable")
    mariadb = "server_id" in told
    lags = []
    for row in sources:
        replication = servers.replication(row, flavours.MARIADB if mariadb else flavours.MYSQL)
        if not replication.runs:
            return CheckResult(False, one_line(_stopped(replication), _error(row).encode()))
        lags.append(replication.lag_s)
    if mariadb and (errant := _errant(told)):
        return CheckResult(False, one_line(f"it has transactions of its own: {', '.join(errant)}"))
    return _lag(None if None in lags else max(lag for lag in lags if lag is not None), max_lag_s)


def _errant(told: Row) -> Sequence[str]:
    """What it wrote itself, after what its source gave it; the source need not know it yet."""
    own = gtid.mariadb(told["binlog_pos"] or "").last
    given = gtid.mariadb(told["slave_pos"] or "").last
    return [
        f"{domain}-{server}-{sequence}"
        for (domain, server), sequence in own.items()
        if server == int(told["server_id"] or 0)
        and all(sequence > other for (there, _), other in given.items() if there == domain)
    ]


def _stopped(told: servers.Replication) -> str:
    if told.receiving and not told.connected and told.applying:
        return "replication is not connected"
    return "replication stopped"


def _error(row: Row) -> str:
    """Its number, and its text without what it quotes: that may be anybody's data."""
    for thread in ("SQL", "IO"):
        if text := row.get(f"Last_{thread}_Error"):
            words = _QUOTE.split(text, maxsplit=1)[0].strip()
            return f"{row.get(f'Last_{thread}_Errno')}: {words}"[:_ERROR_CHARACTERS]
    return ""
