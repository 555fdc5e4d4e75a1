"""The Runtime API of the worker that serves, on HAProxy's stats socket.

One connection carries one line of commands, joined with `;`, and is read to its end. A line of
questions ends with `show info`: only who has read that has the whole of the others' answers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from ..catalogue import SERVICE_NAME
from .answers import Answer, Process
from .commands import _CONFIRMATIONS, CommandRefused
from .sections import variable_name
from .servers import BreakerState, LiveService
from .socket import HAProxyUnavailable, Question, exchange

_SERVICE: Final = re.compile(SERVICE_NAME)
# HAProxy 3.2 takes 64 words a line.
_VARIABLES_A_LINE: Final = 16
_PAUSE_S: Final = 0.01
# What was asked ahead is of use for as long as a pass that asks at once may take.
_AHEAD_S: Final = 0.1
_AHEAD_AT_MOST: Final = 4


class Runtime:
    """The stats socket. Everything raises `HAProxyUnavailable` when HAProxy does not answer."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        # Who answered the questions, the last one at the end.
        self._workers: list[Process] = []
        # By their lines, the questions that were asked ahead.
        self._ahead: dict[str, Question] = {}

    def execute(self, line: str) -> None:
        """Run commands made by this module's functions; raises `CommandRefused`.

        Commands after a refused one are run all the same: that is HAProxy's way.
        """
        answer = self._exchange(line)
        expected = [
            confirmation
            for command in line.split("; ")
            for start, confirmation in _CONFIRMATIONS.items()
            if command.startswith(start)
        ]
        if expected:
            # Warnings may come first, and the words of `wait`.
            refused = any(confirmation not in answer for confirmation in expected)
        else:
            refused = bool(answer.strip())
        if refused:
            raise CommandRefused(line, answer)

    def version(self) -> tuple[int, int]:
        """HAProxy's major and minor version, as it said last."""
        return (self._workers[-1] if self._workers else self._worker()).version

    def process(self) -> int:
        """The process id of the worker that answers."""
        return self._worker().pid

    def ask_ahead(self, names: Collection[str]) -> None:
        """Send the questions of the next call of `services`, which takes the answers if it is soon.

        Nothing for more services than a change or two has.
        """
        for name in names if len(names) <= _AHEAD_AT_MOST else ():
            line = _line(_about(name))
            # `services` asks anew, and says what is wrong.
            with suppress(HAProxyUnavailable):
                self._ahead[line] = Question(self._path, line, self._timeout_s, half_close=False)

    def close(self) -> None:
        """Do without the answers that nobody took."""
        for question in self._ahead.values():
            question.close()
        self._ahead.clear()

    def services(self, names: Collection[str] | None = None) -> dict[str, LiveService]:
        """The proxies that run: all whose name a service could have, or those of `names`."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            self._workers.clear()
            try:
                found = self._all() if names is None else self._each(sorted(names))
            finally:
                # Whatever is sent from now on, those answers are of before.
                self.close()
            # One that stops may still take a connection when the next one serves already.
            if len({*self._workers}) <= 1 and not any(one.stopping for one in self._workers):
                return found
            if time.monotonic() >= deadline:
                raise HAProxyUnavailable(f"{self._path}: HAProxy's worker is about to end")
            time.sleep(_PAUSE_S)

    def breakers(self, names: Collection[str]) -> dict[str, dict[str, BreakerState]]:
        """What the breakers of these services do to their servers, by service and server."""
        breakers = {}
        for name in names:
            # 4 asks for servers.
            with self._ask(f"show stat {name} 4 -1") as answer:
                breakers[name] = answer.breakers(name)
        return breakers

    def _all(self) -> dict[str, LiveService]:
        # `-1` asks for all proxies, 5 for frontends (1) and servers (4).
        with self._ask("show backend", "show servers state", "show stat -1 5 -1") as answer:
            names = sorted(filter(_SERVICE.fullmatch, answer.backends()))
            found = answer.services(None) or {}
        services = {}
        for start in range(0, len(names), _VARIABLES_A_LINE):
            part = names[start : start + _VARIABLES_A_LINE]
            with self._ask(*(f"get var {variable_name(name)}" for name in part)) as answer:
                for name in part:
                    fingerprint = answer.variable(variable_name(name))
                    service = found.get(name, LiveService(name, None, ()))
                    services[name] = replace(service, fingerprint=fingerprint)
        return services

    def _each(self, names: Sequence[str]) -> dict[str, LiveService]:
        services = {}
        for name in names:
            with self._ask(*_about(name)) as answer:
                fingerprint = answer.variable(variable_name(name))
                found = answer.services(name)
                if found is not None:
                    services[name] = replace(found[name], fingerprint=fingerprint)
        return services

    def _worker(self) -> Process:
        with self._ask():
            pass
        return self._workers[-1]

    @contextmanager
    def _ask(self, *questions: str) -> Iterator[Answer]:
        """The answers to these questions, of which nothing is missing once the block has ended."""
        answer = Answer(self._exchange(_line(questions)))
        try:
            yield answer
            self._workers.append(answer.process())
        except ValueError as error:
            # The worker ended amid its answer.
            raise HAProxyUnavailable(
                f"{self._path}: HAProxy's answer is cut off or unknown: {error}"
            ) from error

    def _exchange(self, line: str) -> str:
        question = self._ahead.pop(line, None)
        if question is not None:
            if time.monotonic() < question.asked_at + _AHEAD_S:
                return question.answer()
            question.close()
        return exchange(self._path, line, self._timeout_s, half_close=False)


def _about(name: str) -> tuple[str, ...]:
    """The questions about one service."""
    return (
        f"get var {variable_name(name)}",
        f"show servers state {name}",
        f"show stat {name} 5 -1",
    )


def _line(questions: Sequence[str]) -> str:
    return "; ".join([*questions, "show info"])
