"""What each of the operator's commands does, and what it answers."""

from __future__ import annotations

import argparse
import os
import pwd
import time
from collections.abc import Collection
from pathlib import Path

from ..catalogue import Service, find
from ..fields import Invalid
from ..haproxy.runtime import Runtime
from ..reconciler import overrides, settings
from ..reconciler.memory import MemoryFile
from ..reconciler.reconcile import FAILURES, reconcile
from ..reconciler.result import Result, ServiceResult
from ..reconciler.settings import Settings
from ..registrar import drain
from ..registrar.settings import load
from . import explain, facts, status


class Failed(Exception):
    """The command could not do all of its work; the message is one line."""


def show_status(options: argparse.Namespace) -> str:
    """`selvage status`."""
    configured = settings.load(options.config)
    _become_owner(configured)
    haproxy = configured.haproxy
    runtime = Runtime(haproxy.admin_socket, haproxy.timeout_ms / 1000)
    live = runtime.services()
    breakers = runtime.breakers([s.name for s in configured.services if s.breaker is not None])
    at = time.time()
    found, _ = overrides.load(_overrides(configured), at)
    held_out = MemoryFile(Path(configured.state_directory, "memory.json")).load().held_out
    return status.report(configured.services, live, found, at, held_out, breakers)


def show_explanation(options: argparse.Namespace) -> str:
    """`selvage explain SERVICE`."""
    configured = settings.load(options.config)
    _become_owner(configured)
    return explain.report(facts.gather(configured, find(configured.services, options.service)))


def maint(options: argparse.Namespace) -> str:
    """`selvage maint SERVICE ADDRESS:PORT`."""
    configured = settings.load(options.config)
    service = find(configured.services, options.service)
    at = time.time()
    override = overrides.parse(service, options.server, options.reason, options.lasts, at)
    _become_owner(configured)
    overrides.put(_overrides(configured), override, at)
    result = _reconciled(configured, "the override is set, but not in effect")
    text = (
        f"{options.server} is in maintenance for {service.name} on this node,"
        f" for {status.duration(override.until - at)} or until:"
        f" selvage ready {service.name} {options.server}"
    )
    if not _known(result, service, override.server):
        text += "\nIt is not registered: it joins in maintenance."
    return _told(text, result)


def ready(options: argparse.Namespace) -> str:
    """`selvage ready SERVICE ADDRESS:PORT`."""
    configured = settings.load(options.config)
    service = find(configured.services, options.service)
    server = overrides.server_at(service, options.server)
    _become_owner(configured)
    if not overrides.remove(_overrides(configured), server):
        return f"{options.server} has no override for {service.name} on this node; nothing to do"
    result = _reconciled(configured, "the override has ended, but not its effect")
    known = _known(result, service, server)
    text = f"{options.server} is back in {service.name} on this node, once its check passes"
    return _told(text if known else f"{options.server} is not registered; it may join", result)


def release(options: argparse.Namespace) -> str:
    """`selvage release SERVICE`."""
    configured = settings.load(options.config)
    service = find(configured.services, options.service)
    _become_owner(configured)
    result = _reconciled(configured, "not released", [service.name])
    found = _of(result, service)
    if found.held is not None:
        return _told(f"{service.name} stays held, not by its guards: {found.held}", result)
    removed = ", ".join(found.removed) or "nothing"
    return _told(f"{service.name} follows the registry on this node; removed: {removed}", result)


def _overrides(configured: Settings) -> Path:
    return Path(configured.state_directory, "overrides")


def _become_owner(configured: Settings) -> None:
    """Root gives up its rights: what it meets and writes is the reconciler's user's.

    That holds for looking too: what HAProxy checks (`haproxy -c`) may run code.
    """
    owner = Path(configured.state_directory).stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        user = pwd.getpwuid(owner)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(owner)


def _reconciled(configured: Settings, otherwise: str, released: Collection[str] = ()) -> Result:
    """One run; `otherwise` begins the line when it fails.

    It waits for no other service's servers that drain.
    """
    try:
        return reconcile(configured, released=released, awaited=released)
    except FAILURES as failure:
        raise Failed(f"{otherwise}: {failure}") from failure


def _of(result: Result, service: Service) -> ServiceResult:
    return next(found for found in result.services if found.name == service.name)


def _known(result: Result, service: Service, server: str) -> bool:
    found = _of(result, service)
    return found.held is not None or server in {*found.kept, *found.changed, *found.added}


def _told(text: str, result: Result) -> str:
    """What was done, and beside it what was not."""
    problems = [problem for problem in result.problems if problem != result.away]
    if result.away is not None:
        # It takes no registry to do what an operator says.
        text += f"\nThe registry is away: {result.away}"
    if problems:
        print(text)
        raise Failed("; ".join(problems))
    return text


def drain_service(options: argparse.Namespace) -> str:
    """`selvage drain SERVICE`."""
    settings = load(options.config)
    announced = sorted({i.announcement.service for i in settings.instances})
    if options.service not in announced:
        raise Invalid(
            f"{options.service!r:.80} is not announced by this node,"
            f" which announces: {', '.join(announced) or 'nothing'}"
        )
    drain.drain(settings.drain_folder, options.service, options.reason)
    return f"{options.service} is drained on this node until: selvage undrain {options.service}"


def undrain_service(options: argparse.Namespace) -> str:
    """`selvage undrain SERVICE`."""
    folder = load(options.config).drain_folder
    # Whatever the configuration says by now: a service that was drained can be let back in.
    if options.service not in drain.drained(folder):
        return f"{options.service!r:.80} was not drained on this node; nothing to do"
    drain.undrain(folder, options.service)
    return f"{options.service} is let back in on this node, once its checks pass"
