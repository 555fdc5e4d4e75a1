"""What is asked of the broker and told to it, through the application's own connection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .worker import CANARY

# A broker that is away, or does not answer, is known as that within a few of these.
SOCKET = {"socket_timeout": 5, "socket_connect_timeout": 5}
# Whoever sends a job may say when, in seconds since 1970.
SENT = "selvage_sent_at"


class Broker:
    """While it can be reached."""

    def __init__(self, app: Any, connection: Any) -> None:  # noqa: ANN401 - Celery has no types
        self.app, self.connection = app, connection
        self.channel = connection.default_channel

    def send_canary(self, queue: str) -> None:
        """One is enough: those of a worker that is gone must not pile up."""
        if self.length(queue) == 0:
            self.app.send_task(
                CANARY, queue=queue, connection=self.connection, retry=False, ignore_result=True
            )

    def length(self, queue: str) -> int:
        """How many jobs wait."""
        if hasattr(self.channel, "_size"):
            return int(self.channel._size(queue))
        return int(self.channel.queue_declare(queue, passive=True).message_count)

    def age(self, queue: str) -> float | None:
        """How long the oldest job has waited, where its sender says when it sent it."""
        if self.connection.transport.driver_type != "redis":
            return None
        from redis import Redis

        key = f"{self.channel.global_keyprefix}{queue}"
        message = Redis(connection_pool=self.channel.pool).lindex(key, -1)
        try:
            sent = float(json.loads(message)["headers"][SENT])
        except (KeyError, TypeError, ValueError):
            return 0.0 if message is None else None
        return max(0.0, time.time() - sent)


@contextmanager
def reached(app: Any) -> Iterator[Broker]:  # noqa: ANN401 - Celery has no types
    """Raises what the connection raises where it cannot be reached."""
    app.conf.broker_transport_options = {**(app.conf.broker_transport_options or {}), **SOCKET}
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        yield Broker(app, connection)
