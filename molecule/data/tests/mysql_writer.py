"""Write rows to MySQL at 127.0.0.1, over several connections at once, until the input ends.

A line each: when, and the number that was acknowledged, or what went wrong.
"""

import json
import select
import ssl
import sys
import threading
import time

import pymysql

GIVEN = json.loads(sys.stdin.readline())
# An application's patience with a server that does not answer.
ANSWER_S = 5
RETRY_S = 0.02

over = threading.Event()


def connected() -> pymysql.Connection:
    return pymysql.connect(
        host="127.0.0.1",
        port=GIVEN["port"],
        user=GIVEN["user"],
        password=GIVEN["password"],
        database="shop",
        ssl=ssl.create_default_context(cafile=GIVEN["ca"]),
        autocommit=True,
        connect_timeout=ANSWER_S,
        read_timeout=ANSWER_S,
        write_timeout=ANSWER_S,
    )


def say(text: object) -> None:
    # In one piece: others write, too.
    sys.stdout.write(f"{time.monotonic():.3f} {text}\n")


def write(first: int) -> None:
    """Every so many-th number, at this one's share of the rate."""
    pause_s = GIVEN["writers"] / GIVEN["rate"]
    number, connection, due_at = first, None, time.monotonic()
    while not over.wait(max(0.0, due_at - time.monotonic())):
        # What was missed is not made up for.
        due_at = max(due_at + pause_s, time.monotonic())
        try:
            connection = connection or connected()
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO drill VALUES (%s, %s)", (GIVEN["run"], number))
            say(number)
        except (pymysql.err.Error, OSError) as error:
            say(f"failed: {' '.join(str(error).split())}")
            if connection is not None and connection.open:
                connection.close()
            connection = None
            over.wait(RETRY_S)
        number += GIVEN["writers"]


with connected() as link, link.cursor() as setup:
    setup.execute(
        "CREATE TABLE IF NOT EXISTS drill (run CHAR(32), number INT, PRIMARY KEY (run, number))"
    )
threads = [threading.Thread(target=write, args=(first,)) for first in range(GIVEN["writers"])]
for thread in threads:
    thread.start()
select.select([sys.stdin], [], [])
over.set()
for thread in threads:
    thread.join()
