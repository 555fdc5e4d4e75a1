"""Write numbers to MySQL at 127.0.0.1, until the input ends: over new connections, and an old one.

A line each: the number that was acknowledged, or what went wrong. The last one says which
acknowledged numbers are not there any more.
"""

import json
import select
import sys

import pymysql

GIVEN = json.loads(sys.stdin.readline())
# An application's patience with a server that does not answer.
ANSWER_S = 10


def connect():
    return pymysql.connect(
        host="127.0.0.1",
        port=GIVEN["port"],
        user=GIVEN["user"],
        password=GIVEN["password"],
        database="shop",
        ssl={"ca": GIVEN["ca"]},
        autocommit=True,
        connect_timeout=ANSWER_S,
        read_timeout=ANSWER_S,
    )


def ask(connection, statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


old = connect()
ask(old, "CREATE OR REPLACE TABLE rotation (number INT PRIMARY KEY)")
acknowledged = []
number = 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    try:
        new = connect()
        for connection in (new, old):
            number += 1
            ask(connection, "INSERT INTO rotation VALUES (%s)", number)
            acknowledged.append(number)
            print(number)
        new.close()
    except (OSError, pymysql.err.Error) as error:
        print(f"failed: {error}")

there = {row[0] for row in ask(old, "SELECT number FROM rotation")}
ask(old, "DROP TABLE rotation")
print(json.dumps({"missing": sorted({*acknowledged} - there)}))
