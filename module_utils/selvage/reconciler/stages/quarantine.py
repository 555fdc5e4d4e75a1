"""Which services harm the others, and so have to stay as they were."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

# Of a part of the suspects: what is wrong once these alone are as they shall be; None if nothing.
Complaint = Callable[[Collection[str]], str | None]


def refused(suspects: Sequence[str], complaint: Complaint) -> Iterator[tuple[Sequence[str], str]]:
    """Those of the suspects without whom there is no complaint, with the reason.

    They are found by halves: `k` of `n` with about `2k log n` questions. Those who harm only
    together come together, maybe with some between them; and all suspects do when there is a
    complaint without any of them.
    """
    reason = complaint(suspects)
    if reason is None:
        return
    elsewhere = complaint(())
    if elsewhere is not None:
        yield suspects, elsewhere
    else:
        yield from _by_halves(suspects, reason, complaint)


def _by_halves(
    part: Sequence[str], reason: str, complaint: Complaint
) -> Iterator[tuple[Sequence[str], str]]:
    middle = len(part) // 2
    halves = [part[:middle], part[middle:]] if middle else []
    bad = [(half, found) for half in halves if (found := complaint(half)) is not None]
    if not bad:
        yield part, reason
    for half, found in bad:
        yield from _by_halves(half, found, complaint)


def ports_kept(
    staying: Collection[str], former: Mapping[str, int | None], wanted: Mapping[str, int | None]
) -> Iterator[tuple[str, str]]:
    """Who wants the port of a service that stays as it was, and so stays too; and whose it is.

    `former` and `wanted` are ports by service.
    """
    kept = [*staying]
    for name in kept:
        port = former.get(name)
        for other in wanted:
            if port is not None and wanted[other] == port and other not in kept:
                yield other, name
                kept.append(other)
