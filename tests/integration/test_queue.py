"""Jobs that are done later: real Redis, Sentinel, HAProxy, Supervisor and Celery.

QUEUE_JOBS=1000 makes the first test as long as issue 10 has it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
import uuid
from contextlib import suppress

import pytest
from queue_host import Beat, Broker, Host, Service

from programs import is_running, wait_for

JOBS = int(os.environ.get("QUEUE_JOBS", "200"))


@pytest.fixture
def broker(fabric):
    made = Broker(fabric)
    yield made
    made.close()


class Customer(threading.Thread):
    """Sends one job after the other, each with a key of its own until it is accepted."""

    def __init__(self, service, count):
        super().__init__()
        self.service, self.count = service, count
        self.accepted = []
        self.took = []
        self.refused = 0
        self.enough, self.stop = threading.Event(), threading.Event()

    def run(self):
        while not (self.stop.is_set() or (self.enough.is_set() and self.all_accepted())):
            key = str(uuid.uuid4())
            # Some more, and slowly, while a failover takes its time.
            while not self.stop.wait(0.5 if self.all_accepted() else 0.03):
                begun = time.monotonic()
                status, headers, document = self.service.ask(
                    "POST", "/jobs", {"steps": 1, "seconds": 0.02}, Idempotency_Key=key
                )
                self.took.append((status, begun, time.monotonic() - begun))
                if status == 202:
                    self.accepted.append(document["id"])
                    assert headers["Location"] == f"/jobs/{document['id']}"
                    break
                assert status == 503, document
                assert headers["Retry-After"]
                self.refused += 1

    def all_accepted(self):
        return len(self.accepted) >= self.count

    def reach(self, share):
        """Wait until so many are accepted."""
        wait_for(lambda: len(self.accepted) >= self.count * share or not self.is_alive(), 300)
        assert self.is_alive()


def test_no_job_is_lost_by_restarts_a_killed_worker_and_a_failover(broker, zookeeper):
    environment = {"DEMO_LOST_SECONDS": "60", "DEMO_SWEEP_SECONDS": "3"}
    host = Host(
        broker,
        zookeeper.hosts[:1],
        workers=3,
        concurrency=2,
        beat=True,
        environment=environment,
    )
    service = Service(broker, **environment)
    customer = Customer(service, JOBS)
    try:
        host.start()
        service.start()
        host.consume()
        customer.start()
        customer.reach(0.2)
        host.deploy("another version")
        asked = host.control("reread")
        for worker in host.workers:
            assert f"{worker}: changed" in asked
            assert "updated process group" in host.control("update", worker)
            assert host.program("consumes", worker, "--limit", "120").returncode == 0
        assert "No config updates" in host.control("reread") or "beat: changed" in asked
        customer.reach(0.5)
        os.kill(host.pid(host.workers[0]), signal.SIGKILL)
        customer.reach(0.7)
        former = broker.cluster.settle()
        failed_at = time.monotonic()
        broker.cluster.servers[broker.cluster.name(former)].stop(signal.SIGKILL)

        def accepts():
            return any(
                status == 202 and begun > failed_at + 2 for status, begun, _ in customer.took
            )

        wait_for(accepts, 120)
        over_at = time.monotonic()
        broker.cluster.servers[broker.cluster.name(former)].start()
        customer.enough.set()
        customer.join(300)
        assert len(customer.accepted) == len({*customer.accepted}) >= JOBS
        left = {*customer.accepted}
        done = {}
        looks = []

        def all_done():
            # What the timer does.
            looks.append(host.program("watch", "--patience", "10").stdout)
            for job in [*left]:
                _, _, document = service.ask("GET", f"/jobs/{job}")
                if document.get("state") == "done":
                    left.discard(job)
                    done[job] = document["runs"]
            return not left

        wait_for(all_done, 300)
        calm = sorted(took for _, begun, took in customer.took if not failed_at <= begun <= over_at)
        slowest = max(took for *_, took in customer.took)
        print(
            f"\n{len(done)} jobs: all done, {sum(done.values()) - len(done)} of them again;"
            f" submission p99 {calm[len(calm) * 99 // 100] * 1000:.0f} ms, the slowest answer"
            f" {slowest * 1000:.0f} ms, {customer.refused} refused in the failover of"
            f" {over_at - failed_at:.1f} s; workers ended by a look:"
            f" {sum('is ended' in look for look in looks)}"
        )
        assert slowest < 20
    finally:
        customer.stop.set()
        with suppress(RuntimeError):
            customer.join(60)
        service.close()
        host.close()


def test_who_stopped_to_consume_is_found_and_who_is_busy_or_cut_off_is_left_alone(broker, fabric):
    host = Host(broker, workers=1, concurrency=1)
    service = Service(broker)

    def look(patience_s=3):
        return host.program("watch", "--patience", str(patience_s)).stdout

    def job(**order):
        status, _, document = service.ask("POST", "/jobs", order)
        assert status == 202, document
        return f"/jobs/{document['id']}"

    def state(place):
        return service.ask("GET", place)[2]["state"]

    try:
        host.start()
        service.start()
        host.consume()
        (worker,) = host.workers
        first = host.pid(worker)
        # Three times as long as its canary may take; on a busy machine reports are late.
        jobs = [job(steps=1, seconds=10) for _ in range(3)]
        jobs.append(job(seconds=0, failures=1))
        told = []
        wait_for(
            lambda: told.append(look(10)) or all(state(place) == "done" for place in jobs), 120
        )
        assert host.pid(worker) == first, told
        assert host.metric('queue_length{application="demo",queue="demo"}') == 0
        wait_for(lambda: look() or True)
        own = f'application="demo",worker="{worker}"'
        assert host.metric(f'tasks_total{{{own},outcome="retried"}}') == 1
        # As a worker that is there and takes nothing any more.
        for queue in ("demo", f"selvage-canary.{worker}@{os.uname().nodename}"):
            done = host.program("celery", "control", "cancel_consumer", queue)
            assert "no longer consuming" in done.stdout, done.stdout + done.stderr
        place = job(seconds=0)
        wait_for(lambda: "is ended (term)" in look())
        wait_for(lambda: state(place) == "done")
        assert host.pid(worker) != first
        assert host.metric(f"worker_ended_total{{{own}}}") == 1
        # The broker is away.
        second = host.pid(worker)
        fabric.haproxy.stop()
        begun = time.monotonic()
        status, headers, document = service.ask(
            "POST", "/jobs", {"seconds": 0}, Idempotency_Key="refused"
        )
        print(f"\nthe broker is away: {status} after {time.monotonic() - begun:.2f} s, {document}")
        assert (status, headers["Retry-After"]) == (503, "5")
        assert service.ask("GET", place)[0] == 503
        looks = [look() for _ in range(4)]
        assert all("cannot be reached" in text for text in looks)
        assert host.metric('broker_up{application="demo"}') == 0
        fabric.haproxy.start()
        wait_for(lambda: service.ask("GET", place)[0] == 200)
        at = broker.cluster.name(broker.cluster.settle())
        with broker.cluster.client(at, access=broker.access) as client:
            key = hashlib.sha256(b"refused").hexdigest()
            assert client.ask("EXISTS", f"demo:key:{key}") == 0
            assert client.ask("ZCARD", "demo:open") == 0
        assert host.pid(worker) == second
        again = [
            service.ask("POST", "/jobs", {"seconds": 0}, Idempotency_Key="refused")[2]["id"]
            for _ in range(2)
        ]
        assert again[0] == again[1]
        assert service.ask("POST", "/jobs", {"seconds": 1}, Idempotency_Key="refused")[0] == 422
        wait_for(lambda: (look() and False) or state(f"/jobs/{again[0]}") == "done", 120)
    finally:
        service.close()
        host.close()


def test_there_is_one_beat_and_another_one_when_its_host_dies_or_freezes(zookeeper):
    beats = [Beat(zookeeper.hosts[:1]) for _ in range(2)]
    one, two = beats
    try:
        one.run_beat()
        wait_for(lambda: "Sending due task" in one.log)
        two.run_beat()
        wait_for(lambda: "waits for the lock" in two.log)
        child = one.child()
        one.stop(signal.SIGKILL)
        wait_for(lambda: "has the lock" in two.log)
        assert not is_running(child)
        wait_for(lambda: "Sending due task" in two.log)
        one.run_beat()
        child, before = two.child(), one.log.count("has the lock")
        two.send(signal.SIGSTOP)
        wait_for(lambda: one.log.count("has the lock") > before)
        assert not is_running(child)
        two.send(signal.SIGCONT)
        wait_for(lambda: two.process.poll() is not None)
        wait_for(lambda: "nobody holds the lock any more" in two.log)
    finally:
        for beat in beats:
            beat.close()
