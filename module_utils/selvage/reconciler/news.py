"""What is new about services since it was last told, so that a log says it once. Pure."""

from __future__ import annotations

from .result import ServiceResult

# What lasts: its end is news as well, and told as `none`.
_LASTING = ("held", "refused", "out_of_service", "held_out")
# The journal breaks long lines, and who registers a thousand wrong instances must not fill it.
_MOST = 20


class News:
    """Remembers what was told of each service."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, tuple[str, ...]]] = {}

    def of(self, service: ServiceResult) -> dict[str, str]:
        """The new facts by their name, empty when there are none; they count as told then.

        What a pass did is new each time, unless it was to be done in the pass before already: a
        server that drains is told once.
        """
        facts = {
            "added": service.added,
            "removed": service.removed,
            "changed": service.changed,
            "drift": service.drift,
            "held": (service.held,) if service.held is not None else (),
            "refused": tuple(f"{r.child}: {r.reason}" for r in service.refused),
            "out_of_service": tuple(f"{r.child}: {r.reason}" for r in service.out_of_service),
            "held_out": tuple(f"{r.child}: {r.reason}" for r in service.held_out),
        }
        known = self._told.get(service.name, {})
        self._told[service.name] = facts
        return {
            what: _listed(values, known.get(what, ()))
            for what, values in facts.items()
            if values != known.get(what, ()) and (values or what in _LASTING)
        }


def _listed(values: tuple[str, ...], known: tuple[str, ...]) -> str:
    """The values, new ones first, and of many the number."""
    told = {*known}
    ordered = sorted(values, key=told.__contains__)
    more = [f"and {len(values) - _MOST} more"] if len(values) > _MOST else []
    return ",".join(ordered[:_MOST] + more) or "none"
