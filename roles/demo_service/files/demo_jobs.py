"""Jobs of the demonstration service: what accepts them, and the Celery application that does them.

A job is accepted by one write to Redis, which a replica has as well before anybody is told. The
message for a worker comes after it: a message that is lost, with a worker that is killed or in a
failover, is sent again by `sweep`. So each accepted job is done at least once.

DEMO_BROKER has the broker's address: rediss://USER:PASSWORD@127.0.0.1:6379/0?…
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from redis.backoff import NoBackoff
from redis.retry import Retry

import redis
from celery import Celery

QUEUE = "demo"
# All keys begin with it, Celery's too: the broker's user may use no others.
PREFIX = "demo:"
OPEN = f"{PREFIX}open"
KEEP_SECONDS = 86_400
# Longer than the visibility timeout of the workers: until then a lost message comes back by itself.
LOST_SECONDS = int(os.environ.get("DEMO_LOST_SECONDS", "420"))
SWEEP_SECONDS = 15
BROKER = os.environ.get("DEMO_BROKER", "")

app = Celery("demo", broker=BROKER)
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    broker_transport_options={
        "global_keyprefix": PREFIX,
        # kombu 5.2 (Debian 12) forgets the prefix in WATCH, and the user may use no other keys.
        "unacked_key": f"{PREFIX}unacked",
    },
    beat_schedule={
        "sweep": {
            "task": "demo.sweep",
            "schedule": float(os.environ.get("DEMO_SWEEP_SECONDS", SWEEP_SECONDS)),
            "options": {"expires": 60},
        }
    },
)

# KEYS: the job, the open ones, the Idempotency-Key's. ARGV: id, order, time, how long to keep.
ACCEPT = """
if KEYS[3] then
  local former = redis.call('GET', KEYS[3])
  if former then return former end
  redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[4])
end
redis.call('HSET', KEYS[1], 'state', 'queued', 'order', ARGV[2], 'accepted', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return ARGV[1]
"""
# The same, taken back.
FORGET = "redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('DEL', KEYS[1], unpack(KEYS, 3))"


# A CA's certificate that is not there yet is an OSError.
TROUBLE = (redis.RedisError, OSError)


class AwayError(Exception):
    """The broker takes nothing at the moment."""


class OtherOrderError(Exception):
    """The Idempotency-Key was used for another order."""


def key(job: str) -> str:
    """Where Redis has it."""
    return f"{PREFIX}job:{job}"


@functools.cache
def store(timeout: float) -> redis.Redis:
    """This process's client, which waits no longer for any answer."""
    return redis.Redis.from_url(
        BROKER,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def parse_order(body: bytes) -> dict[str, float]:
    """Raises ValueError with one line for whoever sent it."""
    order = json.loads(body or b"{}")
    limits = {"steps": (1, 100, 5), "seconds": (0, 3_600, 1), "failures": (0, 5, 0)}
    if not isinstance(order, dict) or not order.keys() <= limits.keys():
        raise ValueError(f"expected an object with {', '.join(limits)}")
    for name, (low, high, default) in limits.items():
        value = order.setdefault(name, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ValueError(f"{name}: expected a number from {low} to {high}")
    return order


class Desk:
    """Where requests leave jobs and ask for them."""

    def __init__(self, timeout: float = 0.5) -> None:
        self.store = store(timeout)
        options = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            **{"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        }
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, **options}
        # A pool of its own size for threads; kombu opens no more.
        app.conf.broker_pool_limit = 32

    def accept(self, order: dict[str, float], idempotency_key: str | None) -> str:
        """The job's id; raises AwayError when nothing was accepted."""
        job = str(uuid.uuid4())
        keys = [key(job), OPEN]
        text = json.dumps(order, sort_keys=True)
        if idempotency_key is not None:
            digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
            keys.append(f"{PREFIX}key:{digest}")
        try:
            arguments = (*keys, job, text, time.time(), KEEP_SECONDS)
            accepted = str(self.store.eval(ACCEPT, len(keys), *arguments))
            if accepted != job:
                if self.store.hget(key(accepted), "order") != text:
                    raise OtherOrderError
                return accepted
            if self.store.wait(1, 400) < 1:
                self.store.eval(FORGET, len(keys), *keys, job)
                raise AwayError("no replica took it")
        except TROUBLE as error:
            raise AwayError(type(error).__name__) from error
        try:
            send(job, retry=False)
        except Exception as error:
            print(f"job {job} is accepted, its message will be sent later: {type(error).__name__}")
        return job

    def look(self, job: str) -> dict[str, Any] | None:
        """What is known of a job; none of one that never was."""
        try:
            found = self.store.hgetall(key(job))
        except TROUBLE as error:
            raise AwayError(type(error).__name__) from error
        if not found:
            return None
        numbers = {name: int(found.get(name, 0)) for name in ("progress", "runs")}
        return {"id": job, "state": found["state"], **numbers, "result": found.get("result")}


def send(job: str, **options: object) -> None:
    """A message for whichever worker is free."""
    # The header is for the metric of the oldest job's age (role celery).
    headers = {"selvage_sent_at": time.time()}
    app.send_task("demo.work", args=[job], headers=headers, **options)


def patiently(do: Callable[[], Any], limit_s: float = 30.0) -> Any:  # noqa: ANN401 - as Redis's
    """Through a failover: a job that is done must be said to be done."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return do()
        except TROUBLE:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@app.task(name="demo.work", bind=True, max_retries=5)  # type: ignore[untyped-decorator]
def work(self: Any, job: str) -> None:  # noqa: ANN401 - Celery has no types
    """Do a job, which may have been done before."""
    records = store(5.0)
    found = patiently(lambda: records.hgetall(key(job)))
    if not found or found["state"] in ("done", "failed"):
        return
    order = json.loads(found["order"])
    try:
        patiently(lambda: _begin(records, job))
        if self.request.retries < order["failures"]:
            raise self.retry(countdown=0.2)
        steps = int(order["steps"])
        for step in range(steps):
            time.sleep(order["seconds"] / steps)
            percent = 100 * (step + 1) // steps
            patiently(lambda percent=percent: records.hset(key(job), "progress", percent))
        result = f"{steps} steps"
        patiently(lambda: _end(records, job, {"state": "done", "result": result}))
    except SoftTimeLimitExceeded:
        patiently(lambda: _end(records, job, {"state": "failed", "result": "took too long"}))
        raise


def _begin(records: redis.Redis, job: str) -> None:
    with records.pipeline() as both:
        both.hset(key(job), mapping={"state": "running", "begun": time.time()})
        both.hincrby(key(job), "runs", 1)
        both.execute()


def _end(records: redis.Redis, job: str, fields: dict[str, str]) -> None:
    with records.pipeline() as both:
        both.hset(key(job), mapping=fields)
        both.zrem(OPEN, job)
        both.execute()


@app.task(name="demo.sweep")  # type: ignore[untyped-decorator]
def sweep() -> int:
    """Send a message again for jobs that have none any more; the fabric's one beat orders it."""
    records = store(5.0)
    # Who waits still has its message.
    if records.llen(f"{PREFIX}{QUEUE}"):
        return 0
    now = time.time()
    sent = 0
    for job in records.zrangebyscore(OPEN, 0, now - LOST_SECONDS, start=0, num=1000):
        begun = records.hget(key(job), "begun")
        if begun and float(begun) > now - LOST_SECONDS:
            continue
        # First, so that the next look lets this message its time.
        records.zadd(OPEN, {job: now}, xx=True)
        send(job)
        sent += 1
    return sent
