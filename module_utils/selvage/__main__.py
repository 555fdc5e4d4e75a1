"""The operator's command, `selvage`: what a person does on a node by hand."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .fields import Invalid
from .haproxy.socket import HAProxyUnavailable
from .operator import commands
from .reconciler import settings
from .registrar.settings import DEFAULT_PATH


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
    except (HAProxyUnavailable, commands.Failed) as error:
        print(f"selvage: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"selvage: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selvage", description="What an operator does on a node.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    draining = subparsers.add_parser(
        "drain", help="take this node's instances of a service out of the registry"
    )
    draining.add_argument("service", metavar="SERVICE")
    draining.add_argument("--reason", required=True, help="one line for whoever comes next")
    draining.set_defaults(run=commands.drain_service)

    undraining = subparsers.add_parser("undrain", help="let a drained service back in")
    undraining.add_argument("service", metavar="SERVICE")
    undraining.set_defaults(run=commands.undrain_service)

    for command in (draining, undraining):
        command.add_argument(
            "--config",
            type=Path,
            default=DEFAULT_PATH,
            metavar="FILE",
            help="the registrar's configuration (%(default)s)",
        )

    showing = subparsers.add_parser(
        "status", help="show the services as this node's HAProxy runs them"
    )
    showing.set_defaults(run=commands.show_status)

    explaining = subparsers.add_parser(
        "explain", help="show what is registered, wanted and running, and why they differ"
    )
    explaining.set_defaults(run=commands.show_explanation)

    stopping = subparsers.add_parser("maint", help="take a server out of service on this node")
    stopping.set_defaults(run=commands.maint)

    readying = subparsers.add_parser("ready", help="end the maintenance of a server on this node")
    readying.set_defaults(run=commands.ready)

    releasing = subparsers.add_parser(
        "release", help="do once what the guards of a service hold back on this node"
    )
    releasing.set_defaults(run=commands.release)

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


if __name__ == "__main__":
    sys.exit(main())
