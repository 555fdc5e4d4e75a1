"""Log lines for the journal: a sentence, then `key=value` pairs that a machine can split."""

from __future__ import annotations

import json
import logging
import re
import sys

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_PLAIN = re.compile(r"[\w.:/@+-]+")


def setup() -> None:
    """Log to stderr, each line with systemd's priority prefix (sd-daemon(3))."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # kazoo logs each reconnection attempt; the daemons say once what it means.
    logging.getLogger("kazoo").setLevel(logging.ERROR)


def event(logger: logging.Logger, level: int, sentence: str, **fields: object) -> None:
    """One line. Values from outside are quoted, so they cannot forge a second line or field."""
    logger.log(level, "%s", " ".join([sentence, *(f"{k}={quoted(v)}" for k, v in fields.items())]))


def quoted(value: object) -> str:
    """The value as one word: plain where it is harmless, as a JSON string otherwise."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # A traceback's lines all carry the priority.
        prefix = f"<{_PRIORITY.get(record.levelno, 5)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())
