"""What a breaker does when instances are slow, fail, hang or are gone; with figures.

The figures are printed (`pytest -rP`), and no assertion depends on how fast a machine is.
"""

from __future__ import annotations

import csv
import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from passes import passes

from programs import get, wait_for
from selvage.haproxy.runtime import Runtime
from selvage.operator import explain, facts, status

ERRORS = 4
BREAKER = {
    "max_connections": 8,
    "breaker": {"error_limit": ERRORS, "queue": 4},
    "timeouts": {"connect": "1s", "server": "2s"},
    # A check that is under way when a breaker opens may hang until its time is over (2.6, 3.0).
    "check": {"interval": "1s", "timeout": "5s"},
}
HASTY = {"timeouts": {"connect": "1s", "server": "1s"}}


@dataclass
class Callers:
    """Callers who ask one after another, each at most 5 times a second."""

    port: int
    number: int
    # When it was asked, how long it took, and what was answered.
    calls: list[tuple[float, float, str]] = field(default_factory=list)

    @contextmanager
    def calling(self):
        over = threading.Event()

        def call():
            while not over.is_set():
                begun = time.monotonic()
                answer = get(self.port)
                took = time.monotonic() - begun
                self.calls.append((begun, took, answer))
                over.wait(max(0.0, 0.2 - took))

        threads = [threading.Thread(target=call) for _ in range(self.number)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def since(self, begun, until=float("inf")):
        """The calls that began and ended in a time."""
        return [call for call in self.calls if begun <= call[0] and sum(call[:2]) < until]


def p99_ms(calls):
    took = sorted(took for _, took, _ in calls)
    return round(took[len(took) * 99 // 100] * 1000, 1)


def rows(fabric, service="inventory"):
    """What `show stat` says of each server of a service, and of all as BACKEND."""
    # 6: the proxy and its servers.
    head, *lines = fabric.haproxy.ask(f"show stat {service} 6 -1").splitlines()
    found = csv.DictReader([head.removeprefix("# "), *filter(None, lines)])
    return {row["svname"]: row for row in found}


def breakers(fabric, service="inventory"):
    runtime = Runtime(str(fabric.haproxy.admin_socket), 60)
    return runtime.breakers([service])[service]


def opened(fabric, instance, service="inventory"):
    return breakers(fabric, service)[instance.server(service)]


def closed(fabric, number, service="inventory"):
    """Whether all of so many servers have traffic."""
    up = [name for name, row in rows(fabric, service).items() if row["status"] == "UP"]
    return len(set(up) - {"BACKEND"}) == number


def said(fabric, service="inventory"):
    """What `selvage status` and `selvage explain` tell."""
    configured = fabric.settings()
    runtime = Runtime(str(fabric.haproxy.admin_socket), 60)
    told = status.report(
        configured.services, runtime.services(), breakers=runtime.breakers([service])
    )
    (asked,) = [one for one in configured.services if one.name == service]
    return told, explain.report(facts.gather(configured, asked))


@pytest.fixture
def three(fabric, request):
    """A service of three, with a breaker: its port, its instances, its reconciler and content."""
    port = fabric.service(**BREAKER | getattr(request, "param", {}))
    instances = [fabric.instance(name) for name in ("one", "two", "three")]
    content = {"inventory": {instance.child: b"" for instance in instances}}
    reconciler = fabric.reconciler()
    assert passes(reconciler, content) == []
    wait_for(lambda: closed(fabric, 3))
    return port, instances, reconciler, content


def untouched(fabric, reconciler, content):
    """The reconciler takes what a breaker does neither for drift nor for a loss."""
    before = fabric.services_file
    for whole in (True, False):
        result = reconciler.run(lambda: content, whole=whole)
        assert (result.commands, result.problems, result.reloaded) == ((), (), False)
        assert [service.drift for service in result.services] in ([()], [])
        assert [service.held for service in result.services] in ([None], [])
    assert fabric.services_file == before


@pytest.mark.parametrize("three", [HASTY], indirect=True)
def test_one_slow_instance(fabric, three):
    port, (one, *_), reconciler, content = three
    # As many as the two others take, so that nobody has to wait.
    callers = Callers(port, 12)
    with callers.calling():
        wait_for(lambda: len(callers.calls) > 100)
        slow_at = time.monotonic()
        one.release.clear()
        wait_for(lambda: opened(fabric, one).open)
        open_at = time.monotonic()
        # Its health is answered as fast as ever, so that it returns, and is found out anew.
        wait_for(lambda: closed(fabric, 3))
        wait_for(lambda: opened(fabric, one).fault)
        status_said, explain_said = said(fabric)
        untouched(fabric, reconciler, content)
        one.release.set()
        fast_at = time.monotonic()
        wait_for(lambda: closed(fabric, 3))
        closed_at = time.monotonic()
        calls = len(callers.calls)
        wait_for(lambda: len(callers.calls) > calls + 100)
    found = opened(fabric, one)
    during = callers.since(slow_at, fast_at)
    failed = Counter(answer for *_, answer in callers.calls if answer.startswith("HTTP"))
    held = rows(fabric)
    print(
        f"one of three is slow: p99 {p99_ms(callers.since(0, slow_at))} ms before,"
        f" {p99_ms(during)} ms during (median of {len(during)} calls"
        f" {sorted(took for _, took, _ in during)[len(during) // 2] * 1000:.1f} ms),"
        f" {p99_ms(callers.since(closed_at))} ms after; open after {open_at - slow_at:.2f} s,"
        f" closed {closed_at - fast_at:.2f} s after it was fast again; opened {found.opened} times,"
        f" failed {dict(failed)}; connections held at most"
        f" {held[one.server('inventory')]['smax']} of 8, all {held['BACKEND']['smax']}"
    )
    # Whoever meets the slow one fails, until it is out.
    assert set(failed) <= {"HTTP 504"}
    assert ERRORS < sum(failed.values()) < len(during) / 2
    assert {answer for *_, answer in during} >= {"two", "three"}
    assert int(held[one.server("inventory")]["smax"]) <= 8
    for text in (status_said, explain_said):
        assert "breaker open for " in text
        assert " times" in text
    assert "the last error: an answer was late" in status_said
    assert "check fails" not in explain_said
    assert {answer for *_, answer in callers.since(closed_at)} >= {"one", "two", "three"}


def test_all_slow_fail_fast_and_come_back(fabric, three):
    port, instances, reconciler, content = three
    callers = Callers(port, 40)
    with callers.calling():
        wait_for(lambda: len(callers.calls) > 100)
        slow_at = time.monotonic()
        before_ms = p99_ms(callers.calls)
        for instance in instances:
            instance.release.clear()
        wait_for(lambda: all(one.open for one in breakers(fabric).values()))
        open_at = time.monotonic()
        untouched(fabric, reconciler, content)
        # They return, and are found out anew.
        wait_for(lambda: not all(one.open for one in breakers(fabric).values()))
        wait_for(lambda: all(one.open for one in breakers(fabric).values()))
        fast_at = time.monotonic()
        for instance in instances:
            instance.release.set()
    during = callers.since(slow_at, fast_at)
    # So few that this process, which is also the instances, answers them on a busy machine, too.
    callers = Callers(port, 3)
    with callers.calling():
        wait_for(lambda: closed(fabric, 3))
        closed_at = time.monotonic()
        calls = len(callers.calls)
        wait_for(lambda: len(callers.calls) > calls + 40)
    longest = max(took for _, took, _ in during)
    answers = Counter(answer for *_, answer in during)
    held = rows(fabric)
    print(
        f"all of three are slow: p99 {before_ms} ms before,"
        f" {p99_ms(during)} ms during (longest {longest:.2f} s),"
        f" {p99_ms(callers.since(closed_at))} ms after; open after {open_at - slow_at:.2f} s,"
        f" closed {closed_at - fast_at:.2f} s after they were fast again;"
        f" answers {dict(answers)}; connections held at most"
        f" {[held[one.server('inventory')]['smax'] for one in instances]} of 8 each,"
        f" {held['BACKEND']['qmax']} waited"
    )
    assert {answer for answer in answers if answer.startswith("HTTP")} == {"HTTP 503", "HTTP 504"}
    # A server that comes up may get what waits beside what it has still.
    for instance in instances:
        assert int(held[instance.server("inventory")]["smax"]) <= 2 * 8
    # Threads of HAProxy that look at the same moment see the same queue.
    assert int(held["BACKEND"]["qmax"]) <= 4 + 4
    assert {answer for *_, answer in callers.since(closed_at)} >= {"one", "two", "three"}


def test_an_instance_that_answers_500(fabric, three):
    port, (one, *_), reconciler, content = three
    one.status = 500
    asked = one.asked["GET"]
    answers = []
    begun = time.monotonic()
    wait_for(lambda: answers.append(get(port)) or opened(fabric, one).open)
    open_s = time.monotonic() - begun
    assert opened(fabric, one).fault in ("status", None)
    # None of its answers is asked for anew.
    assert one.asked["GET"] - asked == Counter(answers)["HTTP 500"]
    untouched(fabric, reconciler, content)
    one.status = 200
    begun = time.monotonic()
    wait_for(lambda: closed(fabric, 3))
    print(f"500: open after {open_s:.2f} s, closed after {time.monotonic() - begun:.2f} s")
    assert fabric.answers(port) == {"one", "two", "three"}


def test_a_dead_instance_fails_nobody(fabric):
    """Its check is slower than traffic is."""
    check = {"interval": "1s", "fall": 100}
    port = fabric.service(**BREAKER | {"check": check})
    one, two = fabric.instance("one"), fabric.instance("two")
    content = {"inventory": {one.child: b"", two.child: b""}}
    passes(fabric.reconciler(), content)
    wait_for(lambda: closed(fabric, 2))
    address = one.port
    one.close()
    begun = time.monotonic()
    answers = []
    wait_for(lambda: answers.append(get(port)) or opened(fabric, one).opened)
    print(f"dead: open after {time.monotonic() - begun:.2f} s, {dict(Counter(answers))}")
    assert set(answers) == {"two"}
    with socket.create_server(("127.0.0.1", address)) as listener:
        threading.Thread(target=answering, args=(listener,), daemon=True).start()
        begun = time.monotonic()
        wait_for(lambda: closed(fabric, 2))
        print(f"dead: closed {time.monotonic() - begun:.2f} s after it lived")


def answering(listener):
    """Answer all, also checks, until there is no listener."""
    with suppress(OSError):
        while True:
            link, _ = listener.accept()
            with link, suppress(OSError):
                link.recv(4096)
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def hole():
    """Connections are taken, and nothing is ever said; an answer to checks too."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def test_an_instance_that_accepts_and_never_answers(fabric):
    check = {"interval": "10s", "timeout": "10s", "type": "tcp"}
    port = fabric.service(**BREAKER | HASTY | {"check": check})
    one = fabric.instance("one")
    with hole() as never:
        content = {"inventory": {one.child: b"", f"127.0.0.1:{never}": b""}}
        passes(fabric.reconciler(), content)
        wait_for(lambda: closed(fabric, 2))
        name = f"inventory_127.0.0.1_{never}"
        answers = []
        begun = time.monotonic()
        wait_for(lambda: answers.append(get(port)) or breakers(fabric)[name].opened)
        print(
            f"never answers: open after {time.monotonic() - begun:.2f} s, {dict(Counter(answers))}"
        )
        assert breakers(fabric)[name].fault == "timeout"
        assert Counter(answers)["HTTP 504"] == ERRORS
        assert fabric.answers(port) == {"one"}


def post(link):
    """The answer's status; 502 also where HAProxy hangs up, as it does on a connection in use."""
    link.request("POST", "/", body=b"x")
    try:
        answer = link.getresponse()
    except http.client.RemoteDisconnected:
        return 502
    answer.read()
    return answer.status


def test_only_what_may_be_repeated_is_repeated(fabric, three):
    """Who hung up without an answer may have done all of the work."""
    port, (one, *others), *_ = three
    one.status = 0
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answered, failed = 0, 0
    # By turns they would never meet the same instance.
    chance = random.Random(0)
    while failed < ERRORS or not one.asked["GET"]:
        # On one connection, so that a method's rule must not hold for the next.
        if chance.random() < 0.5:
            link.request("GET", "/")
            answer = link.getresponse()
            assert (answer.status, answer.read() != b"one") == (200, True)
            continue
        result = post(link)
        assert result in (200, 502)
        answered, failed = answered + (result == 200), failed + (result == 502)
    link.close()
    posts = one.asked["POST"] + sum(other.asked["POST"] for other in others)
    assert (one.asked["POST"], posts) == (failed, answered + failed)


def test_who_comes_up_starts_slowly_also_if_it_was_added_at_runtime(fabric):
    """HAProxy's own `slowstart`; a server that joins is one that comes up."""
    service = BREAKER | {"breaker": {"error_limit": 1, "slow_start": "1m"}}
    port = fabric.service(**service)
    one, two = fabric.instance("one"), fabric.instance("two")
    content = {"inventory": {one.child: b""}}
    reconciler = fabric.reconciler()
    passes(reconciler, content)
    assert rows(fabric)[one.server("inventory")]["throttle"] == ""
    content = {"inventory": {one.child: b"", two.child: b""}}
    passes(reconciler, content)
    assert 0 < int(rows(fabric)[two.server("inventory")]["throttle"]) < 100
    one.status = 500
    wait_for(lambda: get(port) and opened(fabric, one).open)
    one.status = 200
    wait_for(lambda: closed(fabric, 2))
    assert 0 < int(rows(fabric)[one.server("inventory")]["throttle"]) < 100
    untouched(fabric, reconciler, content)


def test_a_breaker_in_mode_tcp(fabric):
    """It counts connections that fail, and turns away who would wait too long."""
    check = {"interval": "1m", "type": "tcp"}
    options = BREAKER | {"mode": "tcp", "check": check}
    port = fabric.service(**options | {"breaker": {"error_limit": ERRORS, "wait": "200ms"}})
    one, two = fabric.instance("one"), fabric.instance("two")
    content = {"inventory": {one.child: b"", two.child: b""}}
    passes(fabric.reconciler(), content)
    wait_for(lambda: closed(fabric, 2))
    one.close()
    answers = []
    wait_for(lambda: answers.append(get(port)) or opened(fabric, one).opened)
    # Also whose error opens it is tried elsewhere.
    assert set(answers) == {"two"}
    assert opened(fabric, one).fault == "connection"
    with ExitStack() as links:
        for _ in range(8):
            links.enter_context(socket.create_connection(("127.0.0.1", port)))
        wait_for(lambda: rows(fabric)[two.server("inventory")]["scur"] == "8")
        begun = time.monotonic()
        # It waits for its time, and is told.
        assert get(port) in ("RemoteDisconnected", "ConnectionResetError")
        print(f"tcp: turned away after {time.monotonic() - begun:.2f} s")
    wait_for(lambda: get(port) == "two")


def test_metrics_and_the_words_of_an_instance(fabric, three, tmp_path):
    """What an instance says of itself opens no breaker."""
    port, (one, *_), *_ = three
    for instance in fabric.instances:
        fabric.register(instance.child)
    words = "Detected 10 consecutive errors, last one was: Read timeout (http)"
    said_by = f"HTTP/1.1 503 {words}\r\nContent-Length: 0\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as link, suppress(OSError):
                        link.recv(4096)
                        link.sendall(said_by)

        threading.Thread(target=serve, daemon=True).start()
        liar = listener.getsockname()[1]
        fabric.register(f"127.0.0.1:{liar}")
        fabric.reconcile()
        wait_for(lambda: words in fabric.haproxy.ask("show stat inventory 4 -1"))
        one.status = 500
        wait_for(lambda: get(port) and opened(fabric, one).open)
        fabric.reconcile()
        text = (tmp_path / "metrics.prom").read_text()
        assert not breakers(fabric)[f"inventory_127.0.0.1_{liar}"].open
    assert '\nselvage_service_breakers_open{service="inventory"} 1\n' in text
    assert f'since_timestamp_seconds{{service="inventory",server="{one.server("inventory")}",' in (
        text
    )
    assert str(liar) not in text
    assert json.dumps("selvage_drift_total 0")[1:-1] in text
