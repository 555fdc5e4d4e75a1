"""MySQL's binary logs on the backup host: which of them lead to a moment, and which go. Pure.

Each is what one pull brought: whole files, from the position `since` up to `position`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..fields import Invalid
from ..mysql import gtid
from . import manifest
from .manifest import Manifest


@dataclass(frozen=True)
class Until:
    """How far a restore goes: a moment, before which all is wanted, or a transaction, the last."""

    moment: datetime | None = None
    gtid: str = ""

    def __str__(self) -> str:
        return self.gtid if self.moment is None else f"{self.moment:%Y-%m-%d %H:%M:%S} UTC"


def until(moment: str | None, transaction: str | None) -> Until | None:
    """What an operator has asked for; raises `Invalid`."""
    if moment is None and transaction is None:
        return None
    if moment is not None and transaction is not None:
        raise Invalid("a time and a GTID: give one of them")
    if transaction is not None:
        gtid.mariadb(transaction)
        return Until(gtid=transaction)
    try:
        found = datetime.strptime(moment or "", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        raise Invalid(f"{moment!r:.80}: expected UTC such as 2026-11-22 09:30:00") from None
    return Until(found.replace(tzinfo=UTC))


def since(backups: Sequence[Manifest], logs: Sequence[Manifest], cluster: str) -> str:
    """After which position the next pull begins: on from the last one, or from the oldest backup.

    Raises `Invalid` where there is no backup that logs could go on from.
    """
    ours = [one for one in logs if one.cluster == cluster]
    start = [one for one in backups if one.cluster == cluster]
    if not start:
        raise Invalid("there is no backup of these data yet, from which logs could go on")
    return ours[-1].position if ours else start[0].position


def needless(backups: Sequence[Manifest], logs: Sequence[Manifest]) -> list[str]:
    """The logs that no backup needs: they came, and end, before the oldest one of their cluster."""
    oldest: dict[str, Manifest] = {}
    for one in backups:
        oldest.setdefault(one.cluster, one)
    return [
        log.name
        for log in logs
        if log.cluster not in oldest
        or (
            # A later one without anything new tells that there was nothing until then.
            log.name < oldest[log.cluster].name
            and gtid.mariadb(oldest[log.cluster].position).reaches(gtid.mariadb(log.position))
        )
    ]


def newest(backups: Iterable[Manifest], goal: Until) -> Manifest:
    """The last backup before that; raises `Invalid`."""
    fit = [one for one in backups if not _later(one, goal)]
    if not fit:
        raise Invalid(f"{goal}: there is no backup from before that")
    return fit[-1]


def _later(backup: Manifest, goal: Until) -> bool:
    if goal.moment is not None:
        return not backup.ended or datetime.fromisoformat(backup.ended) > goal.moment
    return not gtid.mariadb(goal.gtid).reaches(gtid.mariadb(backup.position))


def chain(backup: Manifest, logs: Sequence[Manifest], goal: Until) -> list[Manifest]:
    """The logs that lead from a backup to there, in order; raises `Invalid` where they do not."""
    if _later(backup, goal):
        raise Invalid(f"{goal}: the backup {backup.name} is later than that: name an older one")
    found: list[Manifest] = []
    here = gtid.mariadb(backup.position)
    base = here.numbers()
    covered = ""
    for log in logs:
        end = gtid.mariadb(log.position)
        if log.cluster != backup.cluster:
            continue
        if _more(end, here, base):
            _goes_on(log, here)
            found.append(log)
            here = here | end
        covered = log.name
        if _there(log, here, goal):
            return found
    to = f"{manifest.made(covered):%Y-%m-%d %H:%M:%S} UTC, {here.position()}" if covered else "none"
    raise Invalid(f"{goal}: the logs after the backup {backup.name} do not reach so far: {to}")


def _more(end: gtid.MariaHistory, here: gtid.MariaHistory, base: Mapping[int, int]) -> bool:
    """Whether there is more than here, and than the backup has, which tells each domain's end."""
    return any(
        number > max(base.get(domain, 0), here.last.get((domain, server), 0))
        for (domain, server), number in end.last.items()
    )


def _goes_on(log: Manifest, here: gtid.MariaHistory) -> None:
    """Refuse a log with a gap before it, and one of another history."""
    start, end = gtid.mariadb(log.since), gtid.mariadb(log.position)
    if not here.reaches(start):
        raise Invalid(
            f"logs are missing between {here.position()} and {start.position()}, "
            f"before {log.name} from {log.member}"
        )
    if lost := here.beyond(end):
        raise Invalid(
            f"the log {log.name} from {log.member} does not go on from those before it: "
            f"it lacks {', '.join(lost)}, which a failover has lost"
        )


def _there(log: Manifest, here: gtid.MariaHistory, goal: Until) -> bool:
    if goal.moment is not None:
        return manifest.made(log.name) >= goal.moment
    return here.reaches(gtid.mariadb(goal.gtid))
