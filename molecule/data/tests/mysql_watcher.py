"""Ask every 50 ms who is writable, through the sidecar and each server, until the input ends.

A line for each answer: where it was asked, when it was asked and answered, who answered, and
whether that one was writable.
"""

import json
import select
import sys
import threading
import time

import pymysql

GIVEN = json.loads(sys.stdin.readline())
EVERY_S = 0.05
ANSWER_S = 1
QUESTION = "SELECT @@hostname, @@global.read_only"

over = threading.Event()


def connected(address: str, port: int) -> pymysql.Connection:
    # As HAProxy's check does: without a password, a right, or TLS.
    return pymysql.connect(
        host=address,
        port=port,
        user="haproxy_check",
        connect_timeout=ANSWER_S,
        read_timeout=ANSWER_S,
        write_timeout=ANSWER_S,
    )


def watch(place: str, address: str, port: int, *, keep: bool) -> None:
    """Over one connection, or, without `keep`, a new one each time, as new sessions see it."""
    connection = None
    due_at = time.monotonic()
    while not over.wait(max(0.0, due_at - time.monotonic())):
        due_at = max(due_at + EVERY_S, time.monotonic())
        asked_at = time.monotonic()
        try:
            connection = connection or connected(address, port)
            with connection.cursor() as cursor:
                cursor.execute(QUESTION)
                name, read_only = cursor.fetchone()
            answer = (place, asked_at, time.monotonic(), name, not read_only)
            # In one piece: others write, too.
            sys.stdout.write(f"{json.dumps(answer)}\n")
            if keep:
                continue
        except (pymysql.err.Error, OSError):
            pass
        if connection is not None and connection.open:
            connection.close()
        connection = None


threads = [
    threading.Thread(
        target=watch, args=("sidecar", "127.0.0.1", GIVEN["port"]), kwargs={"keep": False}
    )
]
for name, address in GIVEN["servers"].items():
    threads.append(
        threading.Thread(target=watch, args=(name, address, 3306), kwargs={"keep": True})
    )
for thread in threads:
    thread.start()
select.select([sys.stdin], [], [])
over.set()
for thread in threads:
    thread.join()
