"""One worker: Celery's own, with the role's settings, a canary task, and reports of itself."""

from __future__ import annotations

import os
import time
from typing import Any

from kombu import Queue

from celery import bootsteps, signals

from . import report
from .settings import Settings, load

CANARY = "selvage.canary"
REPORT_SECONDS = 2.0
# One byte from a child of the pool for each task that ended: nothing to lock, and nothing that a
# child which is killed could leave half done.
EVENTS = {b"s": "succeeded", b"f": "failed", b"r": "retried", b"c": "canary"}


def configure(app: Any, settings: Settings) -> None:  # noqa: ANN401 - Celery has no types
    """The role's settings win over the application's: they belong to each other."""
    conf = app.conf
    conf.task_acks_late = True
    conf.task_reject_on_worker_lost = True
    conf.worker_prefetch_multiplier = settings.prefetch
    conf.task_soft_time_limit = settings.soft_seconds
    conf.task_time_limit = settings.hard_seconds
    # Of a worker that starts while the broker is away; Celery 5.2 knows the other one alone.
    conf.broker_connection_retry_on_startup = True
    conf.broker_connection_max_retries = None
    if settings.memory_mb:
        conf.worker_max_memory_per_child = settings.memory_mb * 1024
    # Celery reads it in three places, and what the application says beside it stays.
    conf.visibility_timeout = settings.visibility_seconds
    for name in ("broker_transport_options", "result_backend_transport_options"):
        options = {**(conf[name] or {}), "visibility_timeout": settings.visibility_seconds}
        # A connection that is dead without a word is noticed: without these nobody ever asks.
        if name == "broker_transport_options" and str(conf.broker_url).startswith("redis"):
            options = {**SOCKET, **options}
        conf[name] = options


SOCKET = {
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


class Counters:
    """Tasks that ended, told by the pool's children through a pipe."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(EVENTS.values(), 0)
        self.canary = self.full = 0.0
        self.reader, self.writer = os.pipe()
        for end in (self.reader, self.writer):
            os.set_blocking(end, False)

    def tell(self, event: bytes) -> None:
        """From a child; a full pipe loses a count, and never stops a task."""
        try:
            os.write(self.writer, event)
        except BlockingIOError:
            return

    def take(self) -> None:
        """In the main process."""
        try:
            events = os.read(self.reader, 65536)
        except BlockingIOError:
            return
        for code, name in EVENTS.items():
            self.counts[name] += events.count(code)
        if b"c" in events:
            self.canary = time.monotonic()


def run(settings: Settings, worker: str) -> None:
    """Until a signal ends it."""
    app = load(settings)
    configure(app, settings)
    counters = Counters()

    @app.task(name=CANARY, ignore_result=True)  # type: ignore[untyped-decorator]
    def canary() -> None:
        counters.tell(b"c")

    # Kept, because Celery's signals forget functions that nobody else knows.
    def heard(event: bytes) -> Any:  # noqa: ANN401 - Celery has no types
        def receive(sender: Any = None, **_: object) -> None:  # noqa: ANN401
            if getattr(sender, "name", "") != CANARY:
                counters.tell(event)

        return receive

    signals.task_success.connect(heard(b"s"), weak=False)
    signals.task_failure.connect(heard(b"f"), weak=False)
    signals.task_retry.connect(heard(b"r"), weak=False)

    pid = os.getpid()
    path = settings.state / f"{worker}.json"

    def say(ending: bool = False) -> None:
        from celery.worker import state

        counters.take()
        active, now = len(state.active_requests), time.monotonic()
        if active >= settings.concurrency:
            counters.full = now
        report.write(
            path,
            report.Report(
                pid=pid,
                born=report.born(pid) or 0,
                at=now,
                ending=ending,
                active=active,
                full=counters.full,
                canary=counters.canary,
                **{name: counters.counts[name] for name in ("succeeded", "failed", "retried")},
            ),
        )

    signals.worker_shutting_down.connect(lambda **_: say(ending=True), weak=False)

    class Reporter(bootsteps.StartStopStep):  # type: ignore[misc]
        """Speaks out of the loop that consumes: when that hangs, reports end, too."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:  # noqa: ANN401
            # Also after a lost connection, which clears the timer.
            say()
            consumer.timer.call_repeatedly(REPORT_SECONDS, say)

    app.steps["consumer"].add(Reporter)
    names = [*settings.queues, settings.canaries(worker)]
    # Celery makes queues that it does not know of; an application's own definitions stay.
    known = {queue.name for queue in app.conf.task_queues or ()}
    if known:
        missing = [Queue(name, routing_key=name) for name in names if name not in known]
        app.conf.task_queues = [*app.conf.task_queues, *missing]
    app.worker_main(
        [
            *("worker", "--loglevel=INFO", f"--hostname={settings.node(worker)}"),
            *("--queues", ",".join(names), f"--concurrency={settings.concurrency}"),
            *("--pool=prefork", "-O", "fair", "--without-gossip", "--without-mingle"),
        ]
    )
