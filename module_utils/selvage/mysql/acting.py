"""What one server is told: each step of a promotion, by statements to that server."""

from __future__ import annotations

import time
from collections.abc import Callable

from .accounts import Account, Change, change
from .gtid import MariaHistory, beyond, mariadb
from .servers import Replication, replication
from .session import Session, Source, SqlError

# Fine enough for a pause of writes, and no load.
POLL_S = 0.01
_LOCK_WAIT_TIMEOUT = 1205


class NotDoneError(Exception):
    """Why a step did not come to its end; one line."""


def wait_until(done: Callable[[], bool], limit_s: float, otherwise: Callable[[], str]) -> None:
    """Raise `NotDoneError` when it is not so within the limit."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() >= deadline:
            raise NotDoneError(otherwise())
        time.sleep(POLL_S)


def status(session: Session) -> Replication | None:
    """How it replicates; None when it has no source."""
    rows = session.rows("SHOW ALL SLAVES STATUS")
    return replication(rows[0], mariadb=True) if rows else None


def read_only(session: Session, limit_s: int) -> None:
    """No client writes any more. It waits for statements and commits that are on their way."""
    session.rows("SET SESSION lock_wait_timeout = %s", limit_s)
    try:
        session.rows("SET GLOBAL read_only = 1")
    except SqlError as error:
        if error.number != _LOCK_WAIT_TIMEOUT:
            raise
        raise NotDoneError(
            f"its writes do not end within {limit_s} s. What runs there: {_running(session)}"
        ) from error


def _running(session: Session) -> str:
    """Who is busy, or holds a transaction; not with what, for statements hold data."""
    rows = session.rows(
        "SELECT id, user, time, command FROM information_schema.processlist "
        "WHERE user NOT IN ('system user', 'event_scheduler') AND id <> CONNECTION_ID() "
        "AND command NOT LIKE 'Binlog Dump%%' ORDER BY time DESC LIMIT 5"
    )
    return (
        "; ".join(f"connection {r['id']} of {r['user']} for {r['time']} s" for r in rows)
        or "nothing that it shows"
    )


def writable(session: Session, *, semi_sync: bool) -> None:
    """Clients may write; with `semi_sync` a commit waits for a replica."""
    session.rows(f"SET GLOBAL rpl_semi_sync_master_enabled = {'ON' if semi_sync else 'OFF'}")
    session.rows("SET GLOBAL read_only = 0")


def catch_up(session: Session, position: str, limit_s: float) -> None:
    """Everything up to there is applied."""
    if position and session.value("MASTER_GTID_WAIT(%s, %s)", position, limit_s) != 0:
        raise NotDoneError(
            f"it has not applied {position} within {limit_s:g} s, but is at "
            f"{session.value('@@GLOBAL.gtid_slave_pos')}"
        )


def stop_receiving(session: Session) -> None:
    """What it has received it goes on to apply."""
    session.rows("STOP SLAVE IO_THREAD")


def apply_received(session: Session, limit_s: float) -> None:
    """Everything that it has received is applied: with its source it would be forgotten."""
    session.rows("START SLAVE SQL_THREAD")

    def applied() -> bool:
        now = status(session)
        if now is None:
            return True
        if now.error is not None:
            raise NotDoneError(f"it cannot apply what it has received: {now.error}")
        position = mariadb(
            str(session.value("@@GLOBAL.gtid_slave_pos")),
            str(session.value("@@GLOBAL.gtid_binlog_state")),
        )
        return not beyond(now.received, position)

    wait_until(applied, limit_s, lambda: f"it has not applied all within {limit_s:g} s")


def forget(session: Session) -> None:
    """It is nobody's replica."""
    session.rows("STOP SLAVE")
    session.rows("RESET SLAVE ALL")


def start(session: Session) -> None:
    """It replicates from the source that it has."""
    session.rows("START SLAVE")


def follow(session: Session, source: Source) -> None:
    """It is read-only and replicates from there, on from its own last transaction."""
    point(session, source)
    start(session)


def point(session: Session, source: Source) -> None:
    """It is read-only, and would replicate from there if it was started."""
    session.rows("SET GLOBAL read_only = 1")
    session.rows("STOP SLAVE")
    # Its own threads would wait for replicas of its own.
    session.rows("SET GLOBAL rpl_semi_sync_master_enabled = OFF")
    session.rows("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos")
    session.rows(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, "
        "MASTER_PASSWORD = %s, MASTER_CONNECT_RETRY = 5, MASTER_USE_GTID = slave_pos, "
        "MASTER_SSL = 1, MASTER_SSL_CA = %s, MASTER_SSL_VERIFY_SERVER_CERT = 1",
        *(source.address, source.port, source.user, source.password, source.ca),
    )


def let_in(
    session: Session, account: Account, *, exact: bool, dry_run: bool = False
) -> Change | None:
    """An account's passwords are these; what that took, or would take."""
    rows = session.rows(
        "SELECT Priv FROM mysql.global_priv WHERE User = %s AND Host = %s",
        *(account.name, account.host),
    )
    needed = change(account, rows[0]["Priv"] if rows else None, exact=exact)
    if needed is not None and not dry_run:
        session.rows(needed.statement, *needed.values)
    return needed


def log_in_by(session: Session, password: str, limit_s: float) -> None:
    """It goes on with another password, from its own last transaction.

    First it applies all that it has received, for the statement throws away what it has not.
    """
    now = status(session)
    if now is None:
        return
    if isinstance(now.received, MariaHistory):
        catch_up(session, now.received.position(), limit_s)
    stop_receiving(session)
    try:
        apply_received(session, limit_s)
        session.rows("STOP SLAVE")
        session.rows("CHANGE MASTER TO MASTER_PASSWORD = %s", password)
    finally:
        start(session)
    wait_until_it_runs(session, limit_s)


def wait_until_it_runs(session: Session, limit_s: float) -> None:
    """Both threads do, and its source has let it in."""

    def runs() -> bool:
        now = status(session)
        return now is not None and now.runs

    def why_not() -> str:
        now = status(session)
        reason = None if now is None else now.error or now.no_entry
        return f"it does not replicate within {limit_s:g} s: {reason or 'no connection'}"

    wait_until(runs, limit_s, why_not)
