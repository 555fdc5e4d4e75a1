"""`selvage explain SERVICE`: what is registered, wanted and running, and why they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..formats.grammar import printable
from ..formats.registrations import Registration
from ..haproxy.servers import LiveServer, Server
from ..planning.steps import (
    AddServer,
    Admit,
    Disable,
    Drain,
    OpenFrontend,
    Remove,
    Replace,
    SetMaxConnections,
    SetWeight,
    Step,
    Stop,
    Undrain,
)
from ..planning.wanted import wanted_servers
from .facts import Facts
from .status import breaker_words, duration, override_words, place, state

_Row = tuple[str, ...]
_WIDEST: Final = 44
# Anybody who may register may say such things.
_MOST: Final = 50


def report(facts: Facts) -> str:
    """The whole answer, for a person."""
    service = facts.service
    lines = [f"{service.name}  127.0.0.1:{service.port}  {service.mode}{_zone(facts)}"]
    news = [*_news(facts)]
    rows = sorted(_rows(facts))
    if not news and not any(row[-1] for row in rows):
        news = ["HAProxy runs what is wanted."]
    lines += [*news, "", *_registered(facts), *_absent(facts), ""]
    head = ("servers", "wanted", "runs", "why they differ")
    lines += _table([head, *((f"  {row[0]}", *row[1:]) for row in rows)])
    return "\n".join(lines)


def _zone(facts: Facts) -> str:
    if facts.zone is None or facts.service.zone.others == "equal":
        return ""
    return f"  zone {facts.zone}, others {facts.service.zone.others}"


def _news(facts: Facts) -> Iterator[str]:
    """What concerns the service as a whole."""
    plan = facts.plan
    if plan.held is not None:
        yield f"{'waiting' if plan.waiting else 'held'}: {plan.held}"
        if plan.waiting:
            yield "  What is up stays until a check of what is new succeeds."
        elif plan.reading.failure is None:
            yield "  It ends when enough instances are registered again, or at your word:"
            yield f"  selvage release {plan.name}"
    if facts.away is not None:
        yield f"HAProxy: {facts.away} It starts with what is wanted below."
    elif plan.reload is not None:
        later = f", due in {duration(facts.reload_in_s)}" if facts.reload_in_s else ""
        yield f"pending: a reload of HAProxy ({plan.reload}){later}"
    if facts.complaint is not None:
        yield f"left as it was: {facts.complaint}"
    for drift in plan.drift:
        if drift.startswith(f"{plan.name} "):
            yield f"drift: {drift}; the next pass repairs it"
    for problem in facts.problems:
        yield f"problem: {problem}"


def _registered(facts: Facts) -> Iterator[str]:
    reading = facts.plan.reading
    if reading.failure is not None:
        yield "registered: not known"
        return
    out = {refusal.child: refusal.reason for refusal in facts.plan.held_out}
    counts = (
        (len(reading.registrations) - len(out), "taken"),
        (len(out), "held out"),
        (len(reading.refusals), "refused"),
        (len(reading.out_of_service), "out of service"),
    )
    yield f"registered: {', '.join(f'{n} {what}' for n, what in counts if n) or 'nothing'}"
    rows = [(r.child, "refused: " + r.reason) for r in reading.refusals]
    rows += [(r.child, "out of service: " + r.reason) for r in reading.out_of_service]
    for registration in reading.registrations:
        child, verdict = printable(registration.child), _taken(facts, registration)
        rows.append((child, f"{verdict}; held out: {out[child]}" if child in out else verdict))
    yield from _table([(f"  {child}", verdict) for child, verdict in sorted(rows)])


def _absent(facts: Facts) -> Iterator[str]:
    if facts.absent:
        yield "not registered, as the registrars there say:"
    rows = sorted((printable(child), text) for child, text in facts.absent.items())
    yield from _table([(f"  {child}", text) for child, text in rows[:_MOST]])
    if len(rows) > _MOST:
        yield f"  and {len(rows) - _MOST} more"


def _taken(facts: Facts, registration: Registration) -> str:
    label = facts.service.zone.label
    zone = registration.labels.get(label)
    weight = 1 if registration.weight is None else registration.weight
    return (
        f"{place(registration.address, registration.port)}, weight {weight:g}"
        + (", backup" if registration.backup else "")
        + (f", {label} {zone}" if zone else "")
    )


def _rows(facts: Facts) -> Iterator[_Row]:
    """Place, what is wanted, what runs, and why they differ; per server."""
    service, plan = facts.service, facts.plan
    wanted = {server.name: server for server in plan.wanted}
    live = {server.name: server for server in facts.live.servers} if facts.live else {}
    overridden = {override.server: override for override in facts.overrides}
    drift = dict(difference.split(" ", 1) for difference in plan.drift)
    registered = {
        server.name: server
        for server in wanted_servers(service, plan.reading.registrations, facts.zone)
    }
    for name in {*wanted, *live, *overridden}:
        server, found = wanted.get(name), live.get(name)
        reasons = []
        if server is not None and plan.reading.failure is None:
            kept = "waiting" if plan.waiting else "held"
            if name not in registered:
                reasons.append(f"{kept}: no longer registered")
            elif server.weight and not registered[name].weight:
                reasons.append(f"{kept}: registered with the weight 0")
        if name in overridden:
            reasons.append(override_words(overridden[name], facts.at))
        if name in drift:
            reasons.append(f"drift: {drift[name]}; the next pass repairs it")
        elif server is None and found is not None:
            reasons.append(_leaving(found, service.drain_ms))
        else:
            steps = [step for step in plan.steps if step.name == name]
            reasons += [f"pending: {', '.join(map(_words, steps))}"] if steps else []
        breaker = facts.breakers.get(name)
        down = server is not None and found is not None and state(found) == "down"
        if down and not (breaker is not None and breaker.open):
            reasons.append("HAProxy's check fails from this node")
        if words := breaker_words(breaker):
            reasons.append(words)
        yield (
            _place(name, server or found, service.name),
            _wanted(server),
            _runs(server, found),
            "; ".join(reasons),
        )


def _place(name: str, server: Server | LiveServer | None, service: str) -> str:
    if server is not None:
        return place(server.address, server.port)
    address, _, port = name.removeprefix(f"{service}_").rpartition("_")
    return place(address, int(port))


def _wanted(server: Server | None) -> str:
    if server is None:
        return "-"
    words = ["maintenance"] if server.disabled else []
    words.append(f"weight {server.weight}")
    words += ["backup"] if server.backup else []
    words += [f"maxconn {server.max_connections}"] if server.max_connections is not None else []
    return ", ".join(words)


def _runs(server: Server | None, found: LiveServer | None) -> str:
    if found is None:
        return "-"
    words = [state(found)]
    if server is not None and found.weight != server.weight:
        words.append(f"weight {found.weight}")
    if found.sessions:
        words.append(f"{found.sessions} session{'s' if found.sessions > 1 else ''}")
    return ", ".join(words)


def _leaving(found: LiveServer, drain_ms: int) -> str:
    if found.draining:
        return f"left: its sessions have {duration(drain_ms / 1000)}, then it is deleted"
    return "left: about to be deleted" if found.maintenance else "pending: to be drained"


def _words(step: Step) -> str:
    match step:
        case AddServer():
            return "to be probed and added"
        case Admit():
            return "to be probed and admitted"
        case Undrain():
            return "to get traffic again"
        case SetWeight():
            return f"to get the weight {step.weight}"
        case SetMaxConnections():
            return f"to get the limit {step.max_connections or 'none'}"
        case Disable():
            return "to be put into maintenance"
        case Stop():
            return "to be stopped, and its sessions ended"
        case Drain():
            return "to be drained"
        case OpenFrontend():
            return "to take connections again"
        case Replace():
            return "to be replaced, because its address or backup changed"
        case Remove():
            return "to be deleted"


def _table(rows: Sequence[_Row]) -> Iterator[str]:
    """The rows as lines, in columns; what is longer than its column pushes the others aside."""
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
