"""An application behind Nginx: it notes what comes to it, and behaves as its paths say."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One that arrived, with its whole body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Application:
    """`/drop` is cut without an answer, `/hang` waits, `/error` is 500, `/live` an echo.

    All else is answered by the headers that came. Its answers may be kept for a second, and have
    as many bytes more as `?` says.
    """

    seen: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    links: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                application.links.append(self.connection)

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                application.seen.append(
                    Request(self.command, self.path, dict(self.headers.items()), body)
                )
                if self.path == "/live":
                    self.echo()
                elif self.path == "/drop":
                    self.close_connection = True
                else:
                    if self.path == "/hang":
                        application.release.wait(600)
                    self.answer()

            def answer(self) -> None:
                path, _, more = self.path.partition("?")
                told = json.dumps(dict(self.headers.items())).encode() + b" " * int(more or 0)
                self.send_response(500 if path == "/error" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def echo(self) -> None:
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.end_headers()
                self.close_connection = True
                while piece := self.connection.recv(4096):
                    self.connection.sendall(piece)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_: object) -> None:
                """A client that is gone is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def count(self, method: str, path: str) -> int:
        """How often such a request came."""
        return sum((one.method, one.path) == (method, path) for one in self.seen)

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for link in self.links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
