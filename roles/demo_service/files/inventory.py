"""The demonstration service `inventory`: says which host answers, and gets slow or sick on demand.

GET /        {"service": …, "host": …, "version": …}
GET /health  200, or 503 while it is sick
POST /jobs   {"steps": 5, "seconds": 1, "failures": 0}, with a broker: 202, and a Location
GET /jobs/…  how far the job is
POST /drill  {"slow_ms": 800, "sick": true, "seconds": 30}, from loopback only: for that long
             answers take that much longer and /health says 503; all three may be left out
"""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY_BYTES = 4096


@dataclass(frozen=True)
class Drill:
    """What is wrong until when (monotonic seconds)."""

    slow_s: float = 0.0
    sick: bool = False
    until: float = 0.0

    @property
    def on(self) -> bool:
        """Whether its time is not yet over."""
        return time.monotonic() < self.until


def parse_drill(body: bytes) -> Drill:
    """Raises ValueError with one line for whoever runs the drill."""
    order = json.loads(body or b"{}")
    if not isinstance(order, dict) or not order.keys() <= {"slow_ms", "sick", "seconds"}:
        raise ValueError("expected an object with slow_ms, sick, seconds")
    slow_ms, sick = order.get("slow_ms", 0), order.get("sick", False)
    seconds = order.get("seconds", 30)
    if not _is_number(slow_ms, 60_000):
        raise ValueError("slow_ms: expected milliseconds from 0 to 60000")
    if not isinstance(sick, bool):
        raise ValueError("sick: expected true or false")
    if not _is_number(seconds, 3_600):
        raise ValueError("seconds: expected seconds from 0 to 3600")
    return Drill(slow_ms / 1000, sick, time.monotonic() + seconds)


def _is_number(value: object, high: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high


class Server(ThreadingHTTPServer):
    """One thread per connection; holds what all requests need to know."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: str, port: int, version: str, jobs: Any = None) -> None:  # noqa: ANN401
        # demo_jobs, which needs Celery and a broker, or nothing.
        self.jobs = jobs
        self.desk = jobs.Desk() if jobs is not None else None
        self.identity = {"service": "inventory", "host": socket.gethostname(), "version": version}
        self.drill = Drill()
        super().__init__((address, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - inherited
        """No traceback for clients and checks that hang up: that is daily life."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75  # of a connection without requests

    def do_GET(self) -> None:
        """Who answers, and whether it is healthy."""
        drill = self.server.drill
        if drill.on:
            time.sleep(drill.slow_s)
        if self.path == "/":
            self._answer(HTTPStatus.OK, self.server.identity)
        elif self.server.jobs is not None and self.path.startswith("/jobs/"):
            self._look(self.path.removeprefix("/jobs/"))
        elif self.path == "/health":
            sick = drill.on and drill.sick
            status = HTTPStatus.SERVICE_UNAVAILABLE if sick else HTTPStatus.OK
            self._answer(status, {"healthy": not sick})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there are / and /health"})

    def do_POST(self) -> None:
        """Begin or end a drill, or accept a job."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST, {"error": f"a body of 0 to {BODY_BYTES} bytes"})
            return
        body = self.rfile.read(int(length))
        if self.server.jobs is not None and self.path == "/jobs":
            self._accept(body)
            return
        if self.path != "/drill":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there is /drill"})
        elif not ipaddress.ip_address(self.client_address[0]).is_loopback:
            self._answer(HTTPStatus.FORBIDDEN, {"error": "drills are ordered on loopback only"})
        else:
            try:
                self.server.drill = parse_drill(body)
            except ValueError as error:
                self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            else:
                self._answer(HTTPStatus.OK, {"drill": "on" if self.server.drill.on else "off"})

    def _accept(self, body: bytes) -> None:
        idempotency_key = self.headers.get("Idempotency-Key")
        try:
            order = self.server.jobs.parse_order(body)
            job = self.server.desk.accept(order, idempotency_key)
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except self.server.jobs.OtherOrderError:
            text = "this Idempotency-Key was used for another order"
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": text})
        except self.server.jobs.AwayError as error:
            self._away(error)
        else:
            place = f"/jobs/{job}"
            self._answer(HTTPStatus.ACCEPTED, {"id": job, "look": place}, {"Location": place})

    def _look(self, job: str) -> None:
        try:
            found = self.server.desk.look(job)
        except self.server.jobs.AwayError as error:
            self._away(error)
            return
        if found is None:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there is no such job"})
        else:
            self._answer(HTTPStatus.OK, found)

    def _away(self, error: Exception) -> None:
        text = f"the broker takes nothing at the moment: {error}"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": text}, {"Retry-After": "5"})

    def _answer(
        self, status: HTTPStatus, document: object, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """A line per request would say nothing and fill the journal."""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="The demonstration service inventory.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--jobs", type=Path, help="accept jobs for the broker in this file")
    options = parser.parse_args()
    jobs = None
    if options.jobs:
        # Not by systemd: what a process is started with stays readable as long as it runs.
        os.environ["DEMO_BROKER"] = options.jobs.read_text().strip()
        jobs = importlib.import_module("demo_jobs")
    server = Server(options.address, options.port, options.version, jobs)
    # shutdown() waits for serve_forever, so it must not run in the same thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
