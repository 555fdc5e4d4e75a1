"""What one pass leaves for the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ...haproxy.services_file import Filed
from ..memory import Memory
from ..prober import Prober


@dataclass
class State:
    """A pass takes it over, and keeps it up to date while it goes on.

    `verified` is a services file that is known to be as we write it. `reload_due` says that a
    reload was put off that no service by itself needs. `begun` are servers that the last pass left
    something to do for, so that what is amiss with them is our own doing. `rejected` are services
    that HAProxy rejected when it was last asked, and why; `rejected_whole` is why it would take no
    file at all.
    """

    filed: Filed
    memory: Memory
    prober: Prober
    verified: Filed | None = None
    reload_due: bool = False
    begun: Collection[str] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    rejected_whole: str | None = None

    @property
    def rejections(self) -> tuple[str, ...]:
        """The rejections as problems: a line for each reason."""
        reasons = dict.fromkeys(self.rejected.values())
        if self.rejected_whole is not None:
            reasons.setdefault(self.rejected_whole)
        return tuple(
            f"{', '.join(sorted(names)) or 'reload'}: left as it was: {reason}"
            for reason in reasons
            for names in [[name for name, why in self.rejected.items() if why == reason]]
        )
