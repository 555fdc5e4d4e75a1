"""One pass, stage by stage: look, plan, break, clear, file, reload, apply, account."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, replace
from typing import Final

from ...haproxy import commands, services_file
from ...haproxy.master import Master
from ...haproxy.runtime import Runtime
from ...haproxy.sections import assemble
from ...haproxy.servers import LiveService
from ...planning.plan import Plan
from ..memory import now
from ..result import Result
from ..settings import Settings
from . import account, admission, breaking, clearance, filing, reloading
from .applying import Applier
from .clearance import Clearance
from .drains import Drains
from .planner import Planner
from .reloading import Reloaded
from .sending import Sender
from .sight import Sight, look
from .state import State

# How soon to look again at a service that waits for HAProxy's checks.
_CHECKS_S: Final = 1.0
# How soon to see what a slow candidate for the place of the one server has answered.
_CANDIDATES_S: Final = 0.1
# How long a pass waits for sessions that it has ended, and how often it looks.
_STOPPED_S: Final = 1.0
_STOPPED_PAUSE_S: Final = 0.005
# How many servers are probed while HAProxy reloads: more would hold up a first reconciliation.
_FRESH_AT_MOST: Final = 256


@dataclass(frozen=True)
class Passed:
    """How a pass went. `unfinished` are services that a later one has to look at, None for all."""

    result: Result
    unfinished: frozenset[str] | None


class Pass:
    """One pass. It waits `patience_s` for probes: what is not decided then is for a later pass.

    A dry run changes nothing, in no file and no socket, and lists the commands.
    """

    def __init__(
        self,
        settings: Settings,
        planner: Planner,
        state: State,
        runtime: Runtime,
        *,
        patience_s: float,
        dry_run: bool,
    ) -> None:
        timeout_s = settings.haproxy.timeout_ms / 1000
        self._settings = settings
        self._planner = planner
        self._state = state
        self._patience_s = patience_s
        self._dry_run = dry_run
        self._runtime = runtime
        self._master = Master(settings.haproxy.master_socket, timeout_s)
        self._sender = Sender(self._runtime, dry_run, self._count)
        self._drains = Drains(state.memory.drains, now())

    def run(self, names: Collection[str] | None) -> Passed:
        """Take the pass over these services, None for all; it looks at all when it has to reload.

        Raises `HAProxyUnavailable`, `FileFailed`.
        """
        before = self._state.filed.text
        sight, plan = self._look(names)
        if sight.live is not None and any(service.stops for service in plan.services):
            sight, plan = self._break(plan, sight)
        cleared = self._clear(plan, sight)
        # What the pass means for the services, and what HAProxy has still to do for it.
        meant = self._plan(sight, cleared.kept) if sight.names is None and cleared.kept else plan
        loads = meant.reload is not None and cleared.loads and sight.live is not None
        after = self._file(meant, sight, others=meant.reload is not None and not loads)
        todo, reloaded = meant, None
        if loads and sight.live is not None:
            reloaded = self._reload(meant, sight.live)
            if reloaded.rejected is not None:
                cleared = cleared.rejecting(meant, reloaded.rejected)
                meant = self._plan(sight, cleared.kept)
                after = self._file(meant, sight, others=True)
            sight, todo = self._look_again(meant, sight, cleared)
        self._remember(plan, meant, cleared, sight, reloaded)
        left = self._apply(todo, sight, cleared)
        return self._account(meant, left, sight, cleared, reloaded, (before, after))

    # Look and plan

    def _look(self, names: Collection[str] | None) -> tuple[Sight, Plan]:
        state = self._state
        kept = {} if names is None else state.rejected
        if names is not None:
            self._anticipate(names)
        sight = look(self._runtime, state.filed, names)
        plan = self._plan(sight, kept)
        if names is not None and (plan.reload is not None or sight.live is None):
            # That takes the whole file, and all that runs.
            return self._look(None)
        if sight.live is not None:
            self._drains.forget(names, sight.drained)
        services = self._planner.services
        if admission.begin(plan, state.prober, services, names, self._patience_s):
            plan = self._plan(sight, kept)
        if sight.live is not None and (moving := breaking.concerned(plan)):
            sight = breaking.look_elsewhere(sight, moving, self._master, self._runtime)
            if sight.elsewhere:
                plan = self._plan(sight, kept)
        return sight, plan

    def _break(self, plan: Plan, sight: Sight) -> tuple[Sight, Plan]:
        """Stop who has to lose its traffic, and look anew; nobody joins while it has any left.

        The file stays as it is until then: whenever HAProxy restarts, it serves one.
        """
        state, deadline = self._state, time.monotonic() + _STOPPED_S
        drift = {service.name: service.drift for service in plan.services}
        stopped: frozenset[str] = frozenset()
        while stops := frozenset(s.name for service in plan.services for s in service.stops):
            if not stops <= stopped:
                stopped |= breaking.stop(plan, sight, self._sender, self._master)
                # What is amiss with them is our own doing.
                state.begun = {*state.begun, *stopped}
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(_STOPPED_PAUSE_S)
            if self._dry_run:
                sight = breaking.as_if_stopped(plan, sight)
                plan = self._plan(sight, {} if sight.names is None else state.rejected)
            else:
                sight, plan = self._look(sight.names)
        return sight, breaking.with_drift(plan, drift)

    def _anticipate(self, names: Collection[str]) -> None:
        planner, filed = self._planner, self._state.filed.sections
        changed = [planner.services[n] for n in names if n in filed and n in planner.readings]
        zone = planner.circumstances.zone
        admission.anticipate(changed, planner.readings, filed, zone, self._state.prober)

    def _plan(self, sight: Sight, kept: Mapping[str, str]) -> Plan:
        probes = self._state.prober.probes
        return self._planner.plan(
            sight,
            kept=kept,
            probed={name: bool(probe.healthy) for name, probe in probes.items()},
            begun=self._state.begun,
            reload_due=self._state.reload_due,
        )

    # The file, and the reload that it may need

    def _clear(self, plan: Plan, sight: Sight) -> Clearance:
        state = self._state
        if sight.names is not None:
            return Clearance(state.rejected)
        if plan.reload is not None and not self._dry_run:
            interval_s = self._settings.reload_interval_ms / 1000
            wait_s = reloading.early_s(state.memory.reloaded_at, interval_s, now())
            if any(service.stops for service in plan.services):
                # A reload would leave their sessions behind, beside those of the one server.
                wait_s = max(wait_s, _STOPPED_S)
            if wait_s:
                return clearance.too_early(plan, state.rejected, wait_s)
        shall_be = assemble(filing.sections(plan, sight, others=False))
        if plan.reload is not None or (sight.live is None and shall_be != sight.filed.text):
            return clearance.ask(plan, sight, self._settings.haproxy)
        return Clearance({})

    def _file(self, plan: Plan, sight: Sight, *, others: bool) -> str:
        sections, state = filing.sections(plan, sight, others=others), self._state
        text = assemble(sections)
        if text != state.filed.text and not self._dry_run:
            state.filed = services_file.write(self._settings.haproxy, sections)
            state.verified = state.filed
        return text

    def _reload(self, plan: Plan, live: Mapping[str, LiveService]) -> Reloaded:
        """Reload; what HAProxy starts UP meanwhile, and does not pass its check, is taken down."""
        prober, services = self._state.prober, self._planner.services
        fresh = admission.fresh(plan, live, _FRESH_AT_MOST)
        probes = [prober.start(services[name], server) for name, server in fresh]
        self._sender.commands.append("reload")
        if self._dry_run:
            wait([probe.future for probe in probes], self._patience_s)
            reloaded = Reloaded()
        else:
            self._state.memory.reloaded_at = now()
            reloaded = reloading.reload(self._master, self._runtime, self._count)
            self._state.reload_due &= reloaded.rejected is not None
        for (name, server), probe in zip(fresh, probes, strict=True):
            if probe.healthy is False and reloaded.rejected is None:
                self._sender.send("demote", server.name, commands.demote(name, server.name))
            prober.forget(server.name)
        return reloaded

    def _look_again(self, meant: Plan, sight: Sight, cleared: Clearance) -> tuple[Sight, Plan]:
        if self._dry_run:
            return sight, replace(meant, services=())
        sight = Sight(None, self._state.filed, self._runtime.services())
        return sight, self._plan(sight, cleared.kept)

    def _remember(
        self,
        plan: Plan,
        meant: Plan,
        cleared: Clearance,
        sight: Sight,
        reloaded: Reloaded | None,
    ) -> None:
        state, planner = self._state, self._planner
        if sight.names is None:
            state.rejected = {
                name: why
                for name, why in cleared.kept.items()
                if name not in cleared.waits or name in state.rejected
            }
            state.rejected_whole = state.rejected_whole if cleared.wait_s else cleared.whole
            done = reloaded is not None and reloaded.rejected is None
            needed = plan.reload is not None and not any(s.reload for s in plan.services)
            state.reload_due = needed and not done
        if not self._dry_run:
            released = planner.circumstances.released
            filing.note_losses(meant, planner.services, released, state.memory)

    # What runs

    def _apply(self, plan: Plan, sight: Sight, cleared: Clearance) -> account.Left:
        """Take the steps, and compare what runs then with what was wanted."""
        state, live, services = self._state, sight.live, self._planner.services
        if live is None:
            return account.Left(plan)
        state.begun = _servers(plan)
        done = Applier(
            services, state.prober, self._drains, self._sender, self._count, self._patience_s
        ).apply(plan, live)
        if self._dry_run:
            return account.Left(replace(plan, services=()))
        touched = {name for name, _ in plan.steps()}
        if not touched or not self._sender.commands:
            return account.unchanged(plan, live, done)
        runs = {**live, **self._runtime.services(touched)}
        left = self._plan(replace(sight, filed=state.filed, live=runs), cleared.kept)
        state.begun = _servers(left)
        return account.compare(plan, left, runs, done, self._sender.denied)

    def _account(
        self,
        meant: Plan,
        left: account.Left,
        sight: Sight,
        cleared: Clearance,
        reloaded: Reloaded | None,
        texts: tuple[str, str],
    ) -> Passed:
        state = self._state
        services = account.services(meant, left)
        for _ in (drift for service in services for drift in service.drift):
            self._count("drift_total")
        done = reloaded is not None and reloaded.rejected is None
        problems = [*state.rejections, *left.problems]
        if sight.away is not None:
            problems.append(f"{sight.away}; it starts with what its services file says")
        if done and left.plan.reload is not None and not self._dry_run:
            path = self._settings.haproxy.services_config
            problems.append(
                f"HAProxy was reloaded and needs it still ({left.plan.reload}):"
                f" does it load {path}?"
            )
        waiting = any(service.waiting or service.candidates for service in left.plan.services)
        # What HAProxy has rejected a moment ago has nothing to hurry for.
        hurries = cleared.wait_s and not (cleared.waits and cleared.waits <= {*state.rejected})
        begun_s = [cleared.wait_s] if hurries else []
        begun_s += [] if left.begun_s is None else [left.begun_s]
        begun_s += [_CANDIDATES_S] if admission.undecided(left.plan, state.prober) else []
        result = Result(
            services=services,
            before=texts[0],
            after=texts[1],
            commands=tuple(self._sender.commands),
            reloaded=done and not self._dry_run,
            problems=tuple(problems),
            away=None,
            begun_s=min(begun_s, default=None),
            drains_s=left.drains_s,
            look_s=_CHECKS_S if waiting else None,
        )
        everything = sight.live is None or state.reload_due
        return Passed(result, None if everything else left.services | cleared.waits)

    def _count(self, sample: str) -> None:
        if not self._dry_run:
            self._state.memory.counters[f"selvage_{sample}"] += 1


def _servers(plan: Plan) -> frozenset[str]:
    return frozenset(step.name for _, step in plan.steps())
