"""Health checks: one attempt each, bounded in time and bytes, with HAProxy's idea of healthy.

A check never raises for what the other side does or fails to do; `CheckResult.detail` says it.
The time limit is one deadline for the whole attempt: a server that sends a byte now and then
does not extend it. Sources of the rules: HAProxy's configuration manual, `option httpchk`,
`option redis-check`, `option mysql-check`, `tcp-check expect`.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .catalogue import Service
from .dialogue import dialogue
from .formats.grammar import printable
from .healthcheck import Check
from .system import tls
from .system.conversation import HEAD_BYTES, over_tcp

_OUTPUT_BYTES: Final = 4096
_DETAIL_CHARACTERS: Final = 200
_MYSQL_ERROR: Final = 0xFF


@dataclass(frozen=True)
class CheckResult:
    """`detail` is one printable line of at most 200 characters."""

    healthy: bool
    detail: str


def tcp(address: str, port: int, timeout_s: float) -> CheckResult:
    """Healthy when the connection is accepted."""
    try:
        with over_tcp(address, port, timeout_s):
            return CheckResult(True, "connected")
    except OSError as error:
        return failed(error, timeout_s)


def http(address: str, port: int, path: str, timeout_s: float) -> CheckResult:
    """`GET path`; healthy when the answer's status is 2xx or 3xx. Redirects are not followed."""
    try:
        with over_tcp(address, port, timeout_s) as conversation:
            conversation.send(f"GET {path} HTTP/1.0\r\nConnection: close\r\n\r\n".encode())
            line = conversation.line()
            status = re.match(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r?$)", line)
            if status is None:
                return CheckResult(False, one_line("not an HTTP answer", line))
            conversation.header()
    except OSError as error:
        return failed(error, timeout_s)
    return CheckResult(status[1][:1] in b"23", f"HTTP {status[1].decode()}")


def redis(address: str, port: int, timeout_s: float) -> CheckResult:
    """`PING`; healthy when the answer is `+PONG`."""
    try:
        with over_tcp(address, port, timeout_s) as conversation:
            conversation.send(b"PING\r\n")
            line = conversation.line()
    except OSError as error:
        return failed(error, timeout_s)
    return CheckResult(line == b"+PONG\r", one_line("answered", line))


def mysql(address: str, port: int, timeout_s: float) -> CheckResult:
    """Read the server's first packet; healthy when it is a handshake and not an error."""
    try:
        with over_tcp(address, port, timeout_s) as conversation:
            length = int.from_bytes(conversation.exactly(4)[:3], "little")
            packet = conversation.exactly(min(length, HEAD_BYTES))
    except OSError as error:
        return failed(error, timeout_s)
    if not packet:
        return CheckResult(False, "not a MySQL handshake: an empty packet")
    if packet[0] == _MYSQL_ERROR:
        return CheckResult(False, one_line("MySQL error", packet[3:]))
    if packet[0] not in (9, 10):  # the two versions of the handshake
        return CheckResult(False, one_line("not a MySQL handshake", packet))
    return CheckResult(True, one_line("MySQL", packet[1:].split(b"\0", 1)[0]))


def role(address: str, port: int, check: Check, timeout_s: float) -> CheckResult:
    """Say what HAProxy says, and judge the answers as it does."""
    meaning = ""
    try:
        with over_tcp(address, port, timeout_s, check.ca) as conversation:
            for step in dialogue(check):
                conversation.send(step.say)
                answer = conversation.until(step.expect)
                if re.search(step.expect, answer) is None:
                    known = (words for other, words in step.others.items()
                             if re.search(other, answer))  # fmt: skip
                    return CheckResult(False, next(known, None) or one_line("answered", answer))
                meaning = step.meaning
    except OSError as error:
        return failed(error, timeout_s)
    return CheckResult(True, meaning)


def execute(command: Sequence[str], timeout_s: float) -> CheckResult:
    """Run a command without a shell; healthy when it ends with 0 within the time limit.

    The command gets a process group of its own, which is killed when the command ends or its time
    is up, so that nothing it started stays behind.
    """
    deadline = time.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return CheckResult(False, one_line("cannot run", f"{command[0]}: {error}".encode()))
    with process:
        assert process.stdout is not None  # noqa: S101 - Popen with PIPE has one
        try:
            output = _output_until_exit(process.pid, process.stdout.fileno(), deadline)
        finally:
            # Not yet waited for, so the group's id cannot have passed to someone else.
            os.killpg(process.pid, signal.SIGKILL)
    if output is None:
        return CheckResult(False, f"no result within {timeout_s:g} s")
    code = process.returncode
    return CheckResult(code == 0, one_line(f"exit {code}", output))


def probe(service: Service, address: str, port: int) -> CheckResult:
    """Run a catalogue service's own check once, as HAProxy would."""
    timeout_s = service.check.timeout_ms / 1000
    if service.check.role is not None:
        return role(address, port, service.check, timeout_s)
    if service.check.type == "http":
        return http(address, port, service.check.path, timeout_s)
    return {"tcp": tcp, "redis": redis, "mysql": mysql}[service.check.type](
        address, port, timeout_s
    )


def _output_until_exit(pid: int, pipe: int, deadline: float) -> bytes | None:
    """The first bytes that the process writes until it ends; None when its time is up first.

    The end of the process counts, not the end of the pipe, which its children may hold open.
    """
    os.set_blocking(pipe, False)
    output = b""
    with contextlib.ExitStack() as stack:
        ended = os.pidfd_open(pid)
        stack.callback(os.close, ended)
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(ended, selectors.EVENT_READ)
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            if pipe in ready:
                piece = os.read(pipe, 65536)
                output += piece[: _OUTPUT_BYTES - len(output)]
                if not piece:
                    selector.unregister(pipe)
            if ended in ready:
                return output
            if time.monotonic() >= deadline:
                return None


def failed(error: OSError, timeout_s: float) -> CheckResult:
    """What became of an attempt that had no end."""
    if isinstance(error, TimeoutError):
        return CheckResult(False, f"no answer within {timeout_s:g} s")
    return CheckResult(False, one_line(tls.reason(error)))


def one_line(what: str, data: bytes = b"") -> str:
    """`what: data` as one printable, bounded line: the data comes from anywhere."""
    text = " ".join(data.decode("latin-1").split())
    return printable(f"{what}: {text}" if text else what, _DETAIL_CHARACTERS)
