"""A daemon as a program: `--config FILE`, `--check`, and one line for a file that is wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..fields import Invalid
from . import journal

S = TypeVar("S")


def run(
    arguments: Sequence[str] | None,
    *,
    name: str,
    purpose: str,
    config: Path,
    load: Callable[[Path], S],
    summary: Callable[[S], str],
    serve: Callable[[S, Path], None],
) -> int:
    """Serve with what `load` makes of the file; 0 when that ends, 2 when the file is invalid.

    With `--check` nothing is served: the `summary` of a valid file is printed.
    """
    parser = argparse.ArgumentParser(prog=name, description=purpose)
    parser.add_argument("--config", type=Path, default=config, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="validate the file and end")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config)
    except Invalid as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        print(f"{options.config}: valid, {summary(settings)}")
        return 0
    journal.setup()
    serve(settings, options.config)
    return 0
