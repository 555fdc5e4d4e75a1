"""What one server is told: each step of a promotion, by statements to that server."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..fields import Invalid
from .accounts import Account, Change, replica_password
from .gtid import beyond
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
    rows = session.rows(session.flavour.status)
    return replication(rows[0], session.flavour) if rows else None


def read_only(session: Session, limit_s: int) -> None:
    """No client writes any more. It waits for statements and commits that are on their way."""
    session.rows("SET SESSION lock_wait_timeout = %s", limit_s)
    try:
        session.rows(f"SET GLOBAL {session.flavour.read_only} = 1")
    except SqlError as error:
        if error.number != _LOCK_WAIT_TIMEOUT:
            raise
        raise NotDoneError(
            f"its writes do not end within {limit_s} s. What runs there: {_running(session)}"
        ) from error


def _running(session: Session) -> str:
    """Who is busy, or holds a transaction; not with what, for statements hold data."""
    rows = session.rows(
        "SELECT id AS id, user AS user, time AS time FROM information_schema.processlist "
        "WHERE user NOT IN ('system user', 'event_scheduler') AND id <> CONNECTION_ID() "
        "AND command NOT LIKE 'Binlog Dump%%' ORDER BY time DESC LIMIT 5"
    )
    return (
        "; ".join(f"connection {r['id']} of {r['user']} for {r['time']} s" for r in rows)
        or "nothing that it shows"
    )


def writable(session: Session, *, semi_sync: bool) -> None:
    """Clients may write; with `semi_sync` a commit waits for a replica."""
    wait_for_replica(session, semi_sync)
    session.rows("SET GLOBAL read_only = 0")


def wait_for_replica(session: Session, on: bool) -> None:
    """Whether a commit does."""
    session.rows(f"SET GLOBAL {session.flavour.semi_sync} = {'ON' if on else 'OFF'}")


def catch_up(session: Session, position: str, limit_s: float) -> None:
    """Everything up to there is applied."""
    if position and session.value(session.flavour.wait, position, limit_s) != 0:
        raise NotDoneError(
            f"it has not applied {position} within {limit_s:g} s, but is at "
            f"{session.value(session.flavour.applied)}"
        )


def stop_receiving(session: Session) -> None:
    """What it has received it goes on to apply."""
    session.rows("STOP REPLICA IO_THREAD")


def apply_received(session: Session, limit_s: float) -> None:
    """Everything that it has received is applied: with its source it would be forgotten."""
    session.rows("START REPLICA SQL_THREAD")

    def applied() -> bool:
        now = status(session)
        if now is None:
            return True
        if now.error is not None:
            raise NotDoneError(f"it cannot apply what it has received: {now.error}")
        flavour = session.flavour
        positions = [str(session.value(f"@@GLOBAL.{name}")) for name in flavour.positions]
        return not beyond(now.received, flavour.history(*positions))

    wait_until(applied, limit_s, lambda: f"it has not applied all within {limit_s:g} s")


def forget(session: Session) -> None:
    """It is nobody's replica."""
    session.rows("STOP REPLICA")
    session.rows("RESET REPLICA ALL")


def start(session: Session) -> None:
    """It replicates from the source that it has."""
    session.rows("START REPLICA")


def follow(session: Session, source: Source) -> None:
    """It is read-only and replicates from there, on from its own last transaction."""
    # Its own threads would wait for replicas of its own.
    wait_for_replica(session, False)
    point(session, source)
    start(session)


def point(session: Session, source: Source) -> None:
    """It is read-only, and would replicate from there if it was started."""
    session.rows(f"SET GLOBAL {session.flavour.read_only} = 1")
    session.rows("STOP REPLICA")
    for statement in session.flavour.go_on:
        session.rows(statement)
    session.rows(
        session.flavour.point,
        *(source.address, source.port, source.user, source.password, source.ca),
    )


def let_in(
    session: Session, account: Account, *, exact: bool, dry_run: bool = False
) -> Change | None:
    """An account's passwords are these; what that took, or would take."""
    rows = session.rows(session.flavour.account, account.name, account.host)
    found = rows[0]["found"] if rows else None
    needed = session.flavour.change(account, found, exact=exact)
    if needed is not None and not dry_run:
        for statement, values in needed.statements:
            session.rows(statement, *values)
    return needed


def source_password(session: Session, master_info: Callable[[], str]) -> str:
    """By which password it logs in at its source, as `replication`."""
    if session.flavour.source is None:
        return replica_password(master_info(), "replication")
    (row,) = session.rows(session.flavour.source)
    if row["user"] != "replication":
        raise Invalid(f"it replicates as {row['user']!r:.80}, and not as replication")
    return str(row["password"])


def log_in_by(session: Session, password: str, limit_s: float) -> None:
    """It goes on with another password, from its own last transaction.

    First it applies all that it has received, for the statement throws away what it has not.
    """
    now = status(session)
    if now is None:
        return
    catch_up(session, now.received.position(), limit_s)
    stop_receiving(session)
    try:
        apply_received(session, limit_s)
        session.rows("STOP REPLICA")
        session.rows(session.flavour.password, password)
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
