"""Read typed fields from parsed JSON or YAML, refusing what does not fit in one clear line.

Shared by the catalogue and by the daemons' configuration files: every message names the place
(`services[0].check.interval`), what is wrong and what is expected.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
REASON_CHARACTERS: Final = 200
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8}|0)(ms|s|m|h)")
_MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


class Invalid(ValueError):
    """Input that is refused; the message is one line for the operator."""


class _Required:
    """Marks a field without a default."""


REQUIRED: Final = _Required()


def parse_duration(text: str) -> int:
    """Milliseconds of `500ms`, `2s`, `1m` or `1h`; raises ValueError otherwise."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 2s or 1m")
    return int(match[1]) * _MILLISECONDS[match[2]]


class Fields:
    """One mapping of the input. Take every known field, then call `done`.

    `where` is the place of the mapping in the input, used in messages. Every taker raises
    `Invalid`. A value of null counts as absent, because templates leave nulls behind.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise Invalid(f"{where or 'the document'}: expected a mapping, got {_kind(value)}")
        self.where = where
        self._value: Mapping[Any, Any] = value
        self._known: list[str] = []

    def at(self, name: str) -> str:
        """The place of a field, for messages."""
        return f"{self.where}.{name}" if self.where else name

    def fail(self, name: str, problem: str) -> Invalid:
        """An `Invalid` for one field, to be raised by callers with rules of their own."""
        return Invalid(f"{self.at(name)}: {problem}")

    def has(self, name: str) -> bool:
        """Whether the field is present and not null; the field counts as known."""
        self._known.append(name)
        return self._value.get(name) is not None

    def _take(self, name: str, default: object) -> object:
        self._known.append(name)
        value = self._value.get(name)
        if value is not None:
            return value
        if isinstance(default, _Required):
            raise self.fail(name, "is required")
        return default

    def text(
        self, name: str, pattern: str, expected: str, default: str | _Required = REQUIRED
    ) -> str:
        """A string that matches `pattern` whole; `expected` describes it to the operator."""
        value = self._take(name, default)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise self.fail(name, f"expected {expected}, got {_shown(value)}")
        return value

    def reason(self, name: str) -> str:
        """Words for whoever comes next: one line of up to `REASON_CHARACTERS` printable ones."""
        value = self._take(name, REQUIRED)
        words = isinstance(value, str) and value.isprintable() and value.strip()
        if not isinstance(value, str) or not words or len(value) > REASON_CHARACTERS:
            expected = f"one line of 1 to {REASON_CHARACTERS} printable characters"
            raise self.fail(name, f"expected {expected}, got {_shown(value)}")
        return value

    def choice(self, name: str, choices: Iterable[str], default: str | _Required = REQUIRED) -> str:
        """One of the given words."""
        allowed = tuple(choices)
        value = self._take(name, default)
        if value not in allowed:
            raise self.fail(name, f"expected one of {', '.join(allowed)}, got {_shown(value)}")
        return str(value)

    def integer(self, name: str, low: int, high: int, default: int | _Required = REQUIRED) -> int:
        """A whole number from `low` to `high`; a string of digits counts, as templates give it."""
        value = self._take(name, default)
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fail(
                name, f"expected a whole number from {low} to {high}, got {_shown(value)}"
            )
        return value

    def boolean(self, name: str, default: bool | _Required = REQUIRED) -> bool:
        """True or false, as YAML and JSON have them."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self.fail(name, f"expected true or false, got {_shown(value)}")
        return value

    def duration(self, name: str, low: str, high: str, default: str | _Required = REQUIRED) -> int:
        """Milliseconds of a duration string within `low` to `high`, themselves such strings."""
        value = self._take(name, default)
        expected = f"expected a duration from {low} to {high}, such as 500ms or 2s"
        if not isinstance(value, str):
            raise self.fail(name, f"{expected}, got {_shown(value)}")
        try:
            milliseconds = parse_duration(value)
        except ValueError:
            raise self.fail(name, f"{expected}, got {_shown(value)}") from None
        if not parse_duration(low) <= milliseconds <= parse_duration(high):
            raise self.fail(name, f"{expected}, got {value}")
        return milliseconds

    def path(self, name: str, default: str | _Required = REQUIRED) -> str:
        """An absolute file path, without characters that a configuration file would interpret."""
        return self.text(name, r"/[A-Za-z0-9._/@+-]{0,255}", "an absolute path", default)

    def table(self, name: str) -> Fields:
        """A nested mapping; absent means empty, so that its own fields decide what is required."""
        return Fields(self._take(name, {}), self.at(name))

    def tables(self, name: str) -> list[Fields]:
        """A list of mappings; absent means empty."""
        return [
            Fields(item, f"{self.at(name)}[{index}]") for index, item in enumerate(self._list(name))
        ]

    def texts(self, name: str, pattern: str, expected: str) -> list[str]:
        """A list of strings that each match `pattern` whole; absent means empty."""
        values = []
        for index, item in enumerate(self._list(name)):
            if not isinstance(item, str) or re.fullmatch(pattern, item) is None:
                raise self.fail(f"{name}[{index}]", f"expected {expected}, got {_shown(item)}")
            values.append(item)
        return values

    def integers(self, name: str, low: int, high: int) -> list[int]:
        """A list of whole numbers from `low` to `high`; absent means empty."""
        items = {str(index): item for index, item in enumerate(self._list(name))}
        numbers = Fields(items, self.at(name))
        return [numbers.integer(index, low, high) for index in items]

    def mapping(self, name: str) -> dict[str, object]:
        """A mapping with free keys, such as labels; absent means empty."""
        return dict(self.table(name)._value)

    def _list(self, name: str) -> list[object]:
        value = self._take(name, [])
        if not isinstance(value, list):
            raise self.fail(name, f"expected a list, got {_kind(value)}")
        return value

    def done(self) -> None:
        """Refuse fields that nobody took: a misspelt guard must not be silently absent."""
        for key in self._value:
            if key not in self._known:
                close = difflib.get_close_matches(str(key), self._known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise self.fail(_shown(key), f"is not a known field{hint}")


def unique(names: Iterable[str], where: str, what: str) -> None:
    """Refuse a value that stands twice; `what` names the kind of value."""
    seen = set()
    for name in names:
        if name in seen:
            raise Invalid(f"{where}: the {what} {name} stands twice")
        seen.add(name)


def _kind(value: object) -> str:
    return {str: "a string", list: "a list", dict: "a mapping", type(None): "nothing"}.get(
        type(value), f"a {type(value).__name__}"
    )


def _shown(value: object) -> str:
    # Bounded and on one line: the input may be anything.
    text = value if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read(path: Path, parse: Callable[[dict[str, object]], _T]) -> _T:
    """What `parse` makes of the document in a JSON file.

    Raises `fields.Invalid` with one line that begins with the path, also for what `parse` refuses.
    """
    document = read_document(path)
    try:
        return parse(document)
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def read_document(path: Path) -> dict[str, object]:
    """The document in a JSON file, not yet validated; raises `fields.Invalid`."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid(f"{path}: expected a JSON object")
    return document
