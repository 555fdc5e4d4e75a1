"""One question to one of HAProxy's sockets, and its whole answer."""

from __future__ import annotations

import socket
import time
from typing import Final

# 10,000 servers take some 4 MB.
_ANSWER_BYTES: Final = 32 * 2**20


class HAProxyUnavailable(Exception):
    """HAProxy does not answer; the message is one line for the operator."""


def exchange(path: str, line: str, timeout_s: float, *, half_close: bool) -> str:
    """The answer to one line of commands; raises `HAProxyUnavailable`.

    With `half_close` the other side sees that nothing more will be said.
    """
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            connection.sendall(line.encode("ascii") + b"\n")
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
                if len(answer) > _ANSWER_BYTES:
                    raise HAProxyUnavailable(
                        f"{path}: HAProxy's answer is longer than {_ANSWER_BYTES} bytes"
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)
    except PermissionError as error:
        raise HAProxyUnavailable(
            f"{path}: permission denied; run as the user that owns HAProxy's sockets"
        ) from error
    except TimeoutError as error:
        raise HAProxyUnavailable(
            f"{path}: HAProxy does not answer within {timeout_s:g} s"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise HAProxyUnavailable(f"{path}: {reason}; is HAProxy running?") from error
    if not answer:
        # Even where there is nothing to say HAProxy sends a newline, unless it ends just now.
        raise HAProxyUnavailable(f"{path}: HAProxy closed the connection without an answer")
    return answer.decode("utf-8", "replace")
