"""The operator's command, `selvage`: what a person does on a node by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import drain, settings, status
from .fields import Invalid
from .haproxy_runtime import HAProxyUnavailable, Runtime
from .registrar_settings import DEFAULT_PATH, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand: 0 done, 1 a failure, 2 wrong usage or invalid configuration."""
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))
    except Invalid as error:
        print(f"selvage: {error}", file=sys.stderr)
        return 2
    except HAProxyUnavailable as error:
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
    showing.add_argument(
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
    return status.report(configured.services, live)


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
