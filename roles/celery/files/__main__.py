"""What role celery runs for an application: workers, beats, and looks at both.

python3 /usr/local/lib/selvage-celery --settings /etc/selvage-celery/orders.json watch
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from selvage_celery import settings


def main() -> int:
    """Parse the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("worker", help="be one of the workers").add_argument("name")
    watch = commands.add_parser("watch", help="look at the workers once")
    watch.add_argument("--patience", type=float, default=60.0, metavar="SECONDS")
    consumes = commands.add_parser("consumes", help="wait until a new worker consumes")
    consumes.add_argument("name")
    consumes.add_argument("--limit", type=float, required=True, metavar="SECONDS")
    commands.add_parser("beat", help="be the one beat of the fabric, or wait to be it")
    commands.add_parser("beat-run", help="what beat starts").add_argument("schedule")
    celery = commands.add_parser("celery", help="Celery's own command line, for operators")
    celery.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    mine = settings.read(options.settings)
    # Each where it is needed: `beat` runs with a Python that need not have Celery.
    if options.command == "beat":
        from selvage_celery import beat

        return beat.hold(mine, options.settings)
    if options.command == "beat-run":
        from selvage_celery import beat

        beat.run(mine, options.schedule)
    elif options.command == "worker":
        from selvage_celery import worker

        worker.run(mine, options.name)
    elif options.command == "celery":
        settings.load(mine).start(options.words)
    else:
        from selvage_celery import watch as looks

        if options.command == "watch":
            return looks.run(mine, options.patience)
        return looks.consumes(mine, options.name, options.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
