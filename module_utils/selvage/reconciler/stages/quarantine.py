"""Which services HAProxy would reject, so that they keep the options they have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...haproxy.validation import Complaint

# One check of a large file takes a tenth of a second; systemd's watchdog bites after a minute.
_CHECKS: Final = 128
_TIME_S: Final = 15.0

# What HAProxy has against these services as they shall be, while all others stay as they are.
Check = Callable[[Collection[str]], Complaint | None]


@dataclass(frozen=True)
class Verdict:
    """The services that HAProxy rejects, and why.

    `whole` is what it has against any file of ours: then nothing can be reloaded.
    """

    services: Mapping[str, str] = field(default_factory=dict)
    whole: str | None = None


def judge(suspects: Collection[str], check: Check, clock: Callable[[], float]) -> Verdict:
    """Find the suspects without whom HAProxy has no complaint.

    HAProxy names the lines of up to 50 of them in one check; those whom it does not name are found
    by halves. After 128 checks, or 15 s of the `clock`, all that are left count as rejected.
    """
    complaint = check(suspects)
    if complaint is None:
        return Verdict()
    elsewhere = check(())
    if elsewhere is not None:
        return Verdict(whole=elsewhere.reason)
    budget = _Budget(check, _CHECKS, clock, clock() + _TIME_S)
    rejected: dict[str, str] = {}
    left = set(suspects)
    while complaint is not None:
        named = {name: why for name, why in complaint.services.items() if name in left}
        if not named or budget.spent:
            named |= dict(_by_halves(sorted(left - named.keys()), complaint, budget))
        rejected |= named
        left -= named.keys()
        complaint = budget.check(left) if left else None
    return Verdict(rejected)


def ports_kept(
    staying: Collection[str], former: Mapping[str, int | None], wanted: Mapping[str, int | None]
) -> Iterator[tuple[str, str]]:
    """Who wants the port of a service that keeps it, and so stays too; and whose it is.

    HAProxy would let both listen. `former` and `wanted` are ports by service.
    """
    kept = [*staying]
    for name in kept:
        port = former.get(name)
        for other in wanted:
            if port is not None and wanted[other] == port and other not in kept:
                yield other, name
                kept.append(other)


@dataclass
class _Budget:
    """How many checks may still be made, and until when."""

    make: Check
    left: int
    clock: Callable[[], float]
    deadline: float

    @property
    def spent(self) -> bool:
        return self.left <= 0 or self.clock() >= self.deadline

    def check(self, names: Collection[str]) -> Complaint | None:
        self.left -= 1
        return self.make(names)


def _by_halves(
    part: Sequence[str], complaint: Complaint, budget: _Budget
) -> Iterator[tuple[str, str]]:
    middle = len(part) // 2
    halves = [part[:middle], part[middle:]] if middle and not budget.spent else []
    bad = [(half, found) for half in halves if (found := budget.check(half)) is not None]
    if not bad:
        # Nobody else can be told apart: these harm together, or there is no time to find out.
        yield from ((name, complaint.reason) for name in part)
    for half, found in bad:
        yield from _by_halves(half, found, budget)
