"""`selvage-backup`: what an operator and cron ask of a backup host."""

from __future__ import annotations

import argparse
import json
import sys
import syslog
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .. import fields
from ..fields import Invalid
from ..system import lock
from . import frames, logs, manifest, state, target
from .run import run
from .store import Store
from .target import Target

STATE_DIR: Final = Path("/var/lib/selvage-backup")


def main(arguments: Sequence[str] | None = None, folder: Path = STATE_DIR) -> int:
    """Serve one command; 0 when all is well, 1 with a line on stderr when not."""
    options = _parser().parse_args(arguments)
    try:
        settings = fields.read(options.config, target.parse)
        return int(options.serve(options, settings, folder))
    except lock.Locked:
        print("selvage-backup: another run is still at work", file=sys.stderr)
        return 1
    except (Invalid, frames.BrokenError, OSError) as error:
        print(f"selvage-backup: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selvage-backup", description="Backups of this fabric.")
    parser.add_argument("--config", type=Path, default=target.SETTINGS, metavar="FILE")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("run", help="take backups now, of all services or of those named")
    one.add_argument("services", nargs="*", metavar="SERVICE")
    one.add_argument(
        "--unless-busy", action="store_true", help="do nothing while another run is at work"
    )
    one.set_defaults(serve=_run)
    one = commands.add_parser("status", help="how the last runs went")
    one.add_argument(
        "--max-age", type=float, default=26, metavar="HOURS", help="of a backup (default: 26)"
    )
    one.set_defaults(serve=_status)
    one = commands.add_parser("list", help="the backups that are kept")
    one.set_defaults(serve=_list)
    one = commands.add_parser("verify", help="check a backup by its checksum")
    one.add_argument("service", choices=manifest.SERVICES)
    one.add_argument("--name", help="without it, the newest")
    one.add_argument(
        "--until", metavar="TIME", help="with MySQL's logs up to then, 2026-11-22 09:30:00 in UTC"
    )
    one.add_argument("--until-gtid", metavar="GTID", help="with the logs up to that transaction")
    one.set_defaults(serve=_verify)
    one = commands.add_parser("push", help="bring a backup to a member that a restore made ready")
    one.add_argument("service", choices=manifest.SERVICES)
    one.add_argument("name", help="several, with commas, come as one stream")
    one.add_argument("member")
    one.set_defaults(serve=_push)
    return parser


def _run(options: argparse.Namespace, settings: Target, folder: Path) -> int:
    services = _services(options.services, settings)
    try:
        with lock.held(folder / "lock", 0, create=True):
            fine = run(settings, services, folder, _tell)
    except lock.Locked:
        if options.unless_busy:
            return 0
        raise
    return 0 if fine else 1


def _services(asked: Sequence[str], settings: Target) -> list[str]:
    unknown = [service for service in asked if service not in settings.services]
    if unknown:
        raise Invalid(f"{unknown[0]} is not backed up here; {', '.join(settings.services)} are")
    return list(asked or settings.services)


def _tell(line: str) -> None:
    """One line for cron's mail or a person, and for the journal."""
    failed = " failed: " in line
    print(line, file=sys.stderr if failed else sys.stdout, flush=True)
    syslog.openlog("selvage-backup")
    syslog.syslog(syslog.LOG_ERR if failed else syslog.LOG_INFO, line)


def _status(options: argparse.Namespace, settings: Target, folder: Path) -> int:
    now = datetime.now(UTC)
    told = state.read(folder / "state.json")
    fine, lines = state.report(told, list(settings.services), now, options.max_age)
    print("\n".join(lines))
    return 0 if fine else 1


def _list(_: argparse.Namespace, settings: Target, __: Path) -> int:
    for service in settings.services:
        if not _place(settings, service).is_dir():
            print(f"{service} no backup yet")
            continue
        store = _store(settings, service)
        for name in store.names():
            try:
                made = store.read(name)
            except Invalid as error:
                print(f"{service} {name} {error}")
                continue
            sealed = " encrypted" if made.encrypted else ""
            print(f"{service} {name} {made.member} {made.size} bytes at {made.position}{sealed}")
    return 0


def _verify(options: argparse.Namespace, settings: Target, _: Path) -> int:
    goal = logs.until(options.until, options.until_gtid)
    if goal is not None and options.service != "mysql":
        raise Invalid(f"{options.service} has no logs: only mysql comes back as of {goal}")
    store = _store(settings, options.service)
    names = store.names()
    name = options.name or (names[-1] if names else None)
    if goal is not None and options.name is None:
        name = logs.newest(store.manifests(), goal).name
    if name not in names:
        there = ", ".join(names) or "none"
        raise Invalid(f"{store.folder}: no backup {name or 'yet'}; there are: {there}")
    found = asdict(store.verify(name))
    if goal is not None:
        stream = _store(settings, manifest.LOGS)
        needed = logs.chain(store.read(name), stream.manifests(), goal)
        found["logs"] = [asdict(stream.verify(log.name)) for log in needed]
    print(json.dumps(found))
    return 0


def _push(options: argparse.Namespace, settings: Target, _: Path) -> int:
    store = _store(settings, options.service)
    members = {one.name: one for one in settings.services.get(options.service, ())}
    names = options.name.split(",")
    if {*names} - {*store.names()} or options.member not in members:
        raise Invalid(f"{options.service}: no backup {options.name}, or no member {options.member}")
    for name in names:
        store.verify(name)
    paths = [store.path(name) for name in names]
    target.push(settings, members[options.member], options.service, paths)
    return 0


def _store(settings: Target, service: str) -> Store:
    folder = _place(settings, service)
    if not folder.is_dir():
        raise Invalid(f"{folder}: no backup yet")
    return Store(folder)


def _place(settings: Target, service: str) -> Path:
    return settings.folder / settings.fabric / service


if __name__ == "__main__":
    sys.exit(main())
