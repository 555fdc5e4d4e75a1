"""The operator's command, `selvage`: what a person does on a node by hand."""

from __future__ import annotations

import argparse
import logging
import os
import pwd
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from . import drain, explain, facts, overrides, settings, status
from .catalogue import Service, find
from .fields import Invalid
from .haproxy_runtime import HAProxyUnavailable, Runtime
from .reconcile import FAILURES, reconcile
from .registrar_settings import DEFAULT_PATH, load
from .result import Result, ServiceResult
from .settings import Settings


class _Failed(Exception):
    """The command could not do all of its work; the message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand: 0 done, 1 a failure, 2 wrong usage or invalid configuration."""
    options = _parser().parse_args(arguments)
    # kazoo logs each attempt to connect; the failure is told once, below.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    try:
        print(options.run(options))
    except Invalid as error:
        print(f"selvage: {error}", file=sys.stderr)
        return 2
    except (HAProxyUnavailable, _Failed) as error:
        print(f"selvage: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"selvage: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selvage", description="What an operator does on a node.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    draining = commands.add_parser(
        "drain", help="take this node's instances of a service out of the registry"
    )
    draining.add_argument("service", metavar="SERVICE")
    draining.add_argument("--reason", required=True, help="one line for whoever comes next")
    draining.set_defaults(run=_drain)

    undraining = commands.add_parser("undrain", help="let a drained service back in")
    undraining.add_argument("service", metavar="SERVICE")
    undraining.set_defaults(run=_undrain)

    for command in (draining, undraining):
        command.add_argument(
            "--config",
            type=Path,
            default=DEFAULT_PATH,
            metavar="FILE",
            help="the registrar's configuration (%(default)s)",
        )

    showing = commands.add_parser(
        "status", help="show the services as this node's HAProxy runs them"
    )
    showing.set_defaults(run=_status)

    explaining = commands.add_parser(
        "explain", help="show what is registered, wanted and running, and why they differ"
    )
    explaining.set_defaults(run=_explain)

    stopping = commands.add_parser("maint", help="take a server out of service on this node")
    stopping.set_defaults(run=_maint)

    readying = commands.add_parser("ready", help="end the maintenance of a server on this node")
    readying.set_defaults(run=_ready)

    releasing = commands.add_parser(
        "release", help="do once what the guards of a service hold back on this node"
    )
    releasing.set_defaults(run=_release)

    for command in (explaining, stopping, readying, releasing):
        command.add_argument("service", metavar="SERVICE")
    for command in (stopping, readying):
        command.add_argument("server", metavar="ADDRESS:PORT")
    stopping.add_argument("--reason", required=True, help="one line for whoever comes next")
    stopping.add_argument(
        "--for", required=True, metavar="DURATION", dest="lasts", help="such as 30m or 2h"
    )
    for command in (showing, explaining, stopping, readying, releasing):
        command.add_argument(
            "--config",
            type=Path,
            default=settings.DEFAULT_PATH,
            metavar="FILE",
            help="the reconciler's configuration (%(default)s)",
        )
    return parser


def _status(options: argparse.Namespace) -> str:
    configured = settings.load(options.config)
    haproxy = configured.haproxy
    live = Runtime(haproxy.admin_socket, haproxy.timeout_ms / 1000).services()
    at = time.time()
    found, _ = overrides.load(_overrides(configured), at)
    return status.report(configured.services, live, found, at)


def _explain(options: argparse.Namespace) -> str:
    configured = settings.load(options.config)
    return explain.report(facts.gather(configured, find(configured.services, options.service)))


def _maint(options: argparse.Namespace) -> str:
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


def _ready(options: argparse.Namespace) -> str:
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


def _release(options: argparse.Namespace) -> str:
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
    """Root gives up its rights: what a run writes belongs to the reconciler's user."""
    owner = Path(configured.state_directory).stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        user = pwd.getpwuid(owner)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(owner)


def _reconciled(configured: Settings, otherwise: str, released: Collection[str] = ()) -> Result:
    """One reconcile; `otherwise` begins the line when it fails."""
    try:
        return reconcile(configured, released=released)
    except FAILURES as failure:
        raise _Failed(f"{otherwise}: {failure}") from failure


def _of(result: Result, service: Service) -> ServiceResult:
    return next(found for found in result.services if found.name == service.name)


def _known(result: Result, service: Service, server: str) -> bool:
    found = _of(result, service)
    return found.held is not None or server in {*found.kept, *found.changed, *found.added}


def _told(text: str, result: Result) -> str:
    """What was done, and beside it what was not."""
    if result.problems:
        print(text)
        raise _Failed("; ".join(result.problems))
    return text


def _drain(options: argparse.Namespace) -> str:
    settings = load(options.config)
    announced = sorted({i.announcement.service for i in settings.instances})
    if options.service not in announced:
        raise Invalid(
            f"{options.service!r:.80} is not announced by this node,"
            f" which announces: {', '.join(announced) or 'nothing'}"
        )
    drain.drain(settings.drain_folder, options.service, options.reason)
    return f"{options.service} is drained on this node until: selvage undrain {options.service}"


def _undrain(options: argparse.Namespace) -> str:
    folder = load(options.config).drain_folder
    # Whatever the configuration says by now: a service that was drained can be let back in.
    if options.service not in drain.drained(folder):
        return f"{options.service!r:.80} was not drained on this node; nothing to do"
    drain.undrain(folder, options.service)
    return f"{options.service} is let back in on this node, once its checks pass"


if __name__ == "__main__":
    sys.exit(main())
