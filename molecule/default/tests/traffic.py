"""Requests against 127.0.0.1:3000, alternately on a kept and on a new connection, until SIGTERM."""

import http.client
import json
import sys
import time
from pathlib import Path


def ask(connection: http.client.HTTPConnection) -> str:
    """The name of the host that answers, or what went wrong."""
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"failed {type(error).__name__}"
    return str(json.loads(body)["host"]) if response.status == 200 else f"failed {response.status}"


kept = http.client.HTTPConnection("127.0.0.1", 3000, timeout=60)
with Path(sys.argv[1]).open("w", buffering=1) as log:
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        fresh = http.client.HTTPConnection("127.0.0.1", 3000, timeout=60)
        for connection in (kept, fresh):
            answer = ask(connection)
            log.write(f"{time.time():.3f} {answer}\n")
        fresh.close()
        time.sleep(0.02)
