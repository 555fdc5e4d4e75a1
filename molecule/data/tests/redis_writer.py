"""Write numbers to Redis at 127.0.0.1, one after another, until the input ends.

A line each: when, and the number that was acknowledged, or what went wrong. The last one says which
acknowledged numbers are not there any more.
"""

import json
import select
import socket
import ssl
import sys
import time

GIVEN = json.loads(sys.stdin.readline())
# An application's patience with a server that does not answer.
ANSWER_S = 1.0
RETRY_S = 0.05
# It only ends a broken test.
LIMIT_S = 120.0


class Link:
    def __init__(self) -> None:
        context = ssl.create_default_context(cafile=GIVEN["ca"])
        plain = socket.create_connection(("127.0.0.1", GIVEN["port"]), ANSWER_S)
        self._tls = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._answers = self._tls.makefile("rb")
        try:
            self.ask("AUTH", GIVEN["user"], GIVEN["password"])
        except OSError:
            self.close()
            raise

    def ask(self, *words: str) -> str:
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._tls.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        answer = self._answers.readline().decode().strip()
        if not answer or answer.startswith("-"):
            raise OSError(answer or "hung up")
        return answer

    def close(self) -> None:
        self._answers.close()
        self._tls.close()


def key(number: int) -> str:
    return f"orders:{GIVEN['name']}:{number}"


def ended(wait_s: float) -> bool:
    return bool(select.select([sys.stdin], [], [], wait_s)[0])


acknowledged: list[int] = []
number = 0
link = None
while not ended(0.01):
    number += 1
    try:
        link = link or Link()
        link.ask("SET", key(number), "1")
        acknowledged.append(number)
        print(f"{time.monotonic():.3f} {number}")
    except OSError as error:
        print(f"{time.monotonic():.3f} failed: {error}")
        if link:
            link.close()
        link = None
        time.sleep(RETRY_S)

deadline = time.monotonic() + LIMIT_S
while True:
    try:
        link = Link()
        missing = [one for one in acknowledged if link.ask("EXISTS", key(one)) != ":1"]
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(RETRY_S)
print(json.dumps({"missing": missing}))
