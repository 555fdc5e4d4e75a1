"""Which transactions a server has: MariaDB's positions, and MySQL's sets of GTIDs.

Both histories know what they have `beyond` another one, in words for an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..fields import Invalid

_MARIADB: Final = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAG: Final = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL: Final = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")

Interval = tuple[int, int]


@dataclass(frozen=True)
class MariaHistory:
    """By domain and server, the sequence number of the last transaction.

    Within a domain numbers only grow, which `gtid_strict_mode` sees to. So who has a server's last
    transaction has those before it.
    """

    last: Mapping[tuple[int, int], int]

    def beyond(self, other: MariaHistory) -> tuple[str, ...]:
        """What is here and not there, for each domain and server."""
        return tuple(
            f"{domain}-{server}-{sequence}"
            + (f" (after {domain}-{server}-{known})" if known else "")
            for (domain, server), sequence in sorted(self.last.items())
            if sequence > (known := other.last.get((domain, server), 0))
        )

    def position(self) -> str:
        """Who has come to there has all of it: in each domain the highest number is the last."""
        highest: dict[int, tuple[int, int]] = {}
        for (domain, server), sequence in self.last.items():
            highest[domain] = max((sequence, server), highest.get(domain, (0, 0)))
        return ",".join(
            f"{domain}-{server}-{sequence}"
            for domain, (sequence, server) in sorted(highest.items())
        )

    def numbers(self) -> dict[int, int]:
        """The highest sequence number of each domain: how far it is, whoever wrote that."""
        found: dict[int, int] = {}
        for (domain, _), sequence in self.last.items():
            found[domain] = max(sequence, found.get(domain, 0))
        return found

    def reaches(self, other: MariaHistory) -> bool:
        """Whether it is as far as the other one, or further, in each domain."""
        own = self.numbers()
        return all(own.get(domain, 0) >= number for domain, number in other.numbers().items())

    def __or__(self, other: MariaHistory) -> MariaHistory:
        keys = {*self.last, *other.last}
        return MariaHistory(
            {key: max(self.last.get(key, 0), other.last.get(key, 0)) for key in keys}
        )

    def __bool__(self) -> bool:
        return bool(self.last)


NOTHING: Final = MariaHistory({})


def mariadb(*texts: str) -> MariaHistory:
    """Of `@@gtid_binlog_state`, `@@gtid_slave_pos` and the like together; raises `Invalid`."""
    last: dict[tuple[int, int], int] = {}
    for text in texts:
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = _MARIADB.fullmatch(part)
            if match is None:
                raise Invalid(f"not a GTID of MariaDB: {part[:80]!r}")
            domain, server, sequence = map(int, match.groups())
            last[domain, server] = max(sequence, last.get((domain, server), 0))
    return MariaHistory({key: sequence for key, sequence in last.items() if sequence})


@dataclass(frozen=True)
class GtidSet:
    """MySQL's: by source (its uuid, with a tag where there is one), intervals in order, apart."""

    sources: Mapping[str, tuple[Interval, ...]]

    def beyond(self, other: GtidSet) -> tuple[str, ...]:
        """What is here and not there, for each source."""
        return tuple(
            f"{source}:{_text(intervals)}"
            for source, intervals in sorted((self - other).sources.items())
        )

    def __sub__(self, other: GtidSet) -> GtidSet:
        left = {
            source: tuple(_without(intervals, other.sources.get(source, ())))
            for source, intervals in self.sources.items()
        }
        return GtidSet({source: intervals for source, intervals in left.items() if intervals})

    def __or__(self, other: GtidSet) -> GtidSet:
        return GtidSet(
            {
                source: _merged([*self.sources.get(source, ()), *other.sources.get(source, ())])
                for source in {*self.sources, *other.sources}
            }
        )

    def __bool__(self) -> bool:
        return bool(self.sources)

    def position(self) -> str:
        """Who has come to there has all of it."""
        return ",".join(f"{source}:{_text(each)}" for source, each in sorted(self.sources.items()))


def seeded_state(source: MariaHistory, position: str) -> str:
    """What `gtid_binlog_state` a server has to begin with that was seeded at that position.

    `source` was asked for before the backup began. With all that it knew, the new server tells
    common transactions from errant ones when it is the primary. In each domain the position comes
    last: that is where the new server goes on.
    """
    stands = mariadb(position).last
    known = {key: sequence for key, sequence in source.last.items() if key not in stands}
    return ",".join(
        f"{domain}-{server}-{sequence}"
        for (domain, server), sequence in [*sorted(known.items()), *sorted(stands.items())]
    )


def mysql(text: str) -> GtidSet:
    """Of `@@gtid_executed` and the like, also with the tags of 8.3; raises `Invalid`."""
    found: dict[str, list[Interval]] = {}
    for part in filter(None, (part.strip() for part in text.lower().split(","))):
        uuid, *pieces = (piece.strip() for piece in part.split(":"))
        if not _UUID.fullmatch(uuid) or not pieces:
            raise Invalid(f"not a set of MySQL's GTIDs: {part[:80]!r}")
        source = uuid
        for piece in pieces:
            if _TAG.fullmatch(piece):
                source = f"{uuid}:{piece}"
                continue
            match = _INTERVAL.fullmatch(piece)
            if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]):
                raise Invalid(f"not an interval of MySQL's GTIDs: {piece[:80]!r}")
            found.setdefault(source, []).append((int(match[1]), int(match[2] or match[1])))
    return GtidSet({source: _merged(intervals) for source, intervals in found.items()})


def _merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _without(intervals: Iterable[Interval], others: Iterable[Interval]) -> Iterator[Interval]:
    """Both are in order, each one's intervals apart."""
    for first, last in intervals:
        start = first
        for low, high in others:
            if high < start or low > last:
                continue
            if low > start:
                yield start, low - 1
            start = high + 1
        if start <= last:
            yield start, last


def _text(intervals: Iterable[Interval]) -> str:
    return ":".join(str(a) if a == b else f"{a}-{b}" for a, b in intervals)


History = MariaHistory | GtidSet


def beyond(one: History, other: History) -> tuple[str, ...]:
    """What one has and the other has not; servers of two flavours have nothing in common."""
    if isinstance(one, MariaHistory) and isinstance(other, MariaHistory):
        return one.beyond(other)
    if isinstance(one, GtidSet) and isinstance(other, GtidSet):
        return one.beyond(other)
    return ("all of it, for one is MariaDB's and the other MySQL's",) if one else ()
