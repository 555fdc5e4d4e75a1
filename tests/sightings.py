"""What was seen of servers that were asked, now and then, whether they are writable. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations, pairwise
from typing import NamedTuple


class Sighting(NamedTuple):
    """An answer: where it was asked, when it was asked and answered, who said what."""

    place: str
    asked: float
    answered: float
    name: str
    writable: bool


class Reign(NamedTuple):
    """One server, writable from one answer to the next: at some time in the first, and the last."""

    name: str
    first: Sighting
    last: Sighting

    @property
    def surely(self) -> tuple[float, float]:
        """When it was writable throughout; the begin is after the end if nobody knows."""
        return self.first.answered, self.last.asked


def reigns(seen: Collection[Sighting]) -> list[Reign]:
    """Of all servers, in the order of their first answers."""
    found: list[Reign] = []
    for name in {one.name for one in seen}:
        own: list[Sighting] = []
        for one in (*sorted((s for s in seen if s.name == name), key=lambda s: s.asked), None):
            if one is not None and one.writable:
                own.append(one)
            elif own:
                first = min(own, key=lambda s: s.answered)
                found.append(Reign(name, first, own[-1]))
                own = []
    return sorted(found, key=lambda reign: reign.first.answered)


def two_at_once(seen: Collection[Sighting]) -> list[tuple[Reign, Reign]]:
    """Pairs that were writable at the same time, beyond doubt."""
    return [
        (one, other)
        for one, other in combinations(reigns(seen), 2)
        if one.name != other.name and (_together(one, other) or _within(one, other))
    ]


def _together(one: Reign, other: Reign) -> bool:
    (begin, end), (other_begin, other_end) = one.surely, other.surely
    return max(begin, other_begin) < min(end, other_end)


def _within(one: Reign, other: Reign) -> bool:
    """One answer of either fell into what was surely the other's time."""
    return any(
        begin <= answer.asked and answer.answered <= end
        for a, b in ((one, other), (other, one))
        for begin, end in [a.surely]
        for answer in (b.first, b.last)
    )


def changes(seen: Collection[Sighting]) -> Iterator[tuple[Reign, Reign]]:
    """One server, and the next one."""
    for one, following in pairwise(reigns(seen)):
        if one.name != following.name:
            yield one, following
