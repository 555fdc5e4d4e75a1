"""HAProxy that restarts, reloads, hangs, refuses or forgets while a pass is at work."""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
from passes import passes
from relay import SocketRelay

from programs import get, wait_for
from selvage.haproxy.master import Master
from selvage.haproxy.runtime import Runtime
from selvage.haproxy.socket import HAProxyUnavailable
from selvage.reconciler import passes as passes_module
from selvage.reconciler.stages import one_pass


@pytest.fixture
def admin(fabric, haproxy):
    """The way to the stats socket."""
    relay = SocketRelay(haproxy.admin_socket)
    fabric.document["haproxy"]["admin_socket"] = str(relay.path)
    yield relay
    relay.close()


@pytest.fixture
def master(fabric, haproxy):
    """The way to the master's socket."""
    relay = SocketRelay(haproxy.master_socket, half_close=True)
    fabric.document["haproxy"]["master_socket"] = str(relay.path)
    yield relay
    relay.close()


def restart(haproxy):
    haproxy.stop()
    haproxy.start()


def reload_by_hand(haproxy):
    haproxy.ask("reload", haproxy.master_socket)


@pytest.mark.parametrize("happening", [restart, reload_by_hand])
def test_what_happens_to_haproxy_during_a_pass_is_made_good(fabric, admin, haproxy, happening):
    port = fabric.service()
    stays, one, two = (fabric.instance(name) for name in ("stays", "one", "two"))
    contents = [{"inventory": {stays.child: b"", guest.child: b""}} for guest in (one, two)]
    reconciler = fabric.reconciler()
    passes(reconciler, contents[0])
    for point in itertools.count():
        number = (point + 1) % 2
        guest, lines = (one, two)[number], itertools.count()

        def change(line, point=point, lines=lines):
            if next(lines) == point:
                happening(haproxy)
            return line

        admin.change = change
        passes(reconciler, contents[number])
        admin.change = lambda line: line
        # After a reload by hand, two workers serve for a moment. One may stay for good if the next
        # reload comes too soon.
        wait_for(partial(alone, haproxy))
        wait_for(partial(settled, fabric, contents[number], (stays, guest)))
        wait_for(lambda guest=guest: fabric.answers(port) == {"stays", guest.name})
        if next(lines) <= point:
            break
    assert point > 8


def alone(haproxy):
    """One worker is left."""
    with suppress(OSError):  # The master replaces itself just now.
        rows = haproxy.ask("show proc", haproxy.master_socket).splitlines()
        return sum(row.split()[1:2] == ["worker"] for row in rows) == 1
    return False


def settled(fabric, content, instances):
    """There is nothing to do, and these are the servers."""
    problems = passes(fabric.reconciler(), content)
    servers = {instance.server("inventory") for instance in instances}
    return problems == [] and servers == {*fabric.haproxy.servers("inventory")}


def test_a_command_that_does_nothing_is_noticed(fabric, admin):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    reconciler = fabric.reconciler()
    passes(reconciler, {"inventory": {one.child: b""}})
    content = {"inventory": {one.child: b"", two.child: b""}}
    admin.change = lambda line: None if line.startswith("set server") else line
    data = {"inventory": {"one": f'{{"host":"127.0.0.1","port":{one.port},"weight":7}}'.encode()}}
    (problem,) = reconciler.run(lambda: data).problems
    name = one.server("inventory")
    assert problem == f"HAProxy does not run what it took: inventory: SetWeight {name}"
    admin.change = lambda line: line
    assert passes(reconciler, content) == []
    assert fabric.answers(port) == {"one", "two"}


def test_what_haproxy_refuses_is_told_while_it_is_needed(fabric, admin):
    fabric.service()
    one = fabric.instance("one")
    reconciler = fabric.reconciler()
    passes(reconciler, {"inventory": {one.child: b""}})
    admin.change = lambda line: line.replace("weight", "state") if "weight" in line else line
    data = {"inventory": {"one": f'{{"host":"127.0.0.1","port":{one.port},"weight":7}}'.encode()}}
    (problem,) = reconciler.run(lambda: data).problems
    assert problem.startswith("HAProxy answered ")
    assert problem.endswith(f" to: set server inventory/{one.server('inventory')} weight 7")


def test_who_is_gone_before_it_is_told_to_go_is_no_problem(fabric, admin, haproxy):
    """As after a run that was killed while HAProxy loaded a file without that server."""
    fabric.service()
    stays, leaves = fabric.instance("stays"), fabric.instance("leaves")
    reconciler = fabric.reconciler()
    passes(reconciler, {"inventory": {stays.child: b"", leaves.child: b""}})
    gone = f"inventory/{leaves.server('inventory')}"

    def change(line):
        if line.endswith("state drain"):
            assert "Server deleted" in haproxy.ask(
                f"set server {gone} state maint; del server {gone}"
            )
        return line

    admin.change = change
    result = reconciler.run(lambda: {"inventory": {stays.child: b""}})
    assert result.commands == (f"set server {gone} state drain",)
    assert result.problems == ()


def test_a_haproxy_that_does_not_load_the_services_file_is_told(fabric, haproxy):
    haproxy.stop()
    main = haproxy.folder / "haproxy.cfg"
    haproxy.run(haproxy.binary, "-W", "-S", haproxy.master_socket, "-f", main)
    wait_for(haproxy.serves)
    fabric.service()
    assert fabric.reconcile().problems == (
        "HAProxy was reloaded and needs it still (inventory: new):"
        f" does it load {haproxy.services_config}?",
    )


@pytest.mark.parametrize("word", ["show backend", "show servers", "show stat", "get var"])
def test_a_worker_that_ends_before_it_answers_runs_nothing_else(fabric, admin, haproxy, word):
    """No answer is not an answer: a HAProxy without services would be reloaded."""
    fabric.service()
    content = {"inventory": {fabric.instance("one").child: b""}}
    reconciler = fabric.reconciler()
    passes(reconciler, content)
    before = fabric.services_file
    admin.change = lambda line: "" if word in line else line
    (problem,) = reconciler.run(lambda: content).problems
    assert "HAProxy closed the connection without an answer" in problem
    admin.change = lambda line: line
    assert passes(reconciler, content) == []
    assert fabric.services_file == before
    assert haproxy.reloads() == 1


def test_a_haproxy_that_was_loaded_since_keeps_the_sessions_that_nobody_saw(fabric, admin, haproxy):
    """With the file of a moment ago, in which the server that goes still gets traffic."""
    port = fabric.service(drain="1h")
    one, two = fabric.instance("one"), fabric.instance("two")
    reconciler = fabric.reconciler()
    passes(reconciler, {"inventory": {one.child: b"", two.child: b""}})
    target, answers = f"inventory/{one.server('inventory')}", []
    clients = [threading.Thread(target=lambda: answers.append(get(port))) for _ in range(4)]

    def change(line):
        if "del server" in line and not clients[0].ident:
            haproxy.ask(f"set server {target} state ready")
            one.release.clear()
            for client in clients:
                client.start()
            wait_for(lambda: f"{one.server('inventory')},0,0,2," in haproxy.ask("show stat"))
        return line

    admin.change = change
    content = {"inventory": {two.child: b""}}
    wait_for(lambda: reconciler.run(lambda: content) and clients[0].ident)
    for _ in range(5):
        assert reconciler.run(lambda: content).problems == ()
    one.release.set()
    for client in clients:
        client.join()
    assert sorted(answers) == ["one", "one", "two", "two"]
    assert passes(reconciler, content) == []
    assert haproxy.servers("inventory").keys() == {two.server("inventory")}


def test_a_refused_add_does_not_keep_others_from_joining_and_leaving(fabric, admin, haproxy):
    port = fabric.service()
    stays, leaves, joins, odd = (fabric.instance(n) for n in ("stays", "leaves", "joins", "odd"))
    reconciler = fabric.reconciler()
    passes(reconciler, {"inventory": {stays.child: b"", leaves.child: b""}})
    content = {"inventory": {stays.child: b"", joins.child: b"", odd.child: b""}}
    name = odd.server("inventory")
    admin.change = lambda line: line.replace(f"{name} 127", f"{name} no-address 127")
    problems = reconciler.run(lambda: content).problems
    assert any(f"to: add server inventory/{name} 127.0.0.1" in problem for problem in problems)
    others = {stays.server("inventory"), joins.server("inventory")}
    wait_for(
        lambda: (
            reconciler.run(lambda: content).problems
            and haproxy.servers("inventory").keys() == others
        )
    )
    assert fabric.answers(port) == {"stays", "joins"}
    admin.change = lambda line: line
    assert passes(reconciler, content) == []
    assert fabric.answers(port) == {"stays", "joins", "odd"}


@pytest.mark.parametrize("word", ["add server", "state drain", "del server"])
def test_a_socket_that_hangs_in_the_middle_is_told_and_made_good(
    fabric, admin, haproxy, word, monkeypatch
):
    port = fabric.service()
    one, two = fabric.instance("one"), fabric.instance("two")
    contents = [{"inventory": {guest.child: b""}} for guest in (one, two)]
    passes(fabric.reconciler(), contents[0])
    told = hang(admin, word)
    monkeypatch.setattr(passes_module, "Runtime", lambda path, _: Runtime(path, 1))
    with pytest.raises(HAProxyUnavailable) as failure:
        passes(fabric.reconciler(), contents[1], until_told=True)
    assert str(failure.value).endswith("admin.sock.relay: HAProxy does not answer within 1 s")
    told.set()
    monkeypatch.setattr(passes_module, "Runtime", Runtime)
    passes(fabric.reconciler(), contents[1])
    assert fabric.answers(port) == {"two"}
    assert haproxy.servers("inventory").keys() == {two.server("inventory")}
    assert not fabric.reconciler().run(lambda: contents[1]).changed


@pytest.mark.parametrize("word", ["show proc", "reload"])
def test_a_master_that_hangs_is_told_and_made_good(fabric, master, haproxy, word, monkeypatch):
    fabric.document["reload_interval"] = "100ms"
    port = fabric.service()
    one = fabric.instance("one")
    content = {"inventory": {one.child: b""}, "orders": {one.child: b""}}
    passes(fabric.reconciler(), content)
    before = fabric.services_file
    other = fabric.service("orders")
    told = hang(master, word)
    monkeypatch.setattr(one_pass, "Master", lambda path, _: Master(path, 1))
    (problem,) = fabric.reconciler().run(lambda: content).problems
    assert problem.startswith("orders: left as it was: HAProxy was not reloaded in time: ")
    assert "\n" not in problem
    # HAProxy may start at any moment, with what it is known to take.
    assert fabric.services_file == before
    assert fabric.answers(port) == {"one"}
    # Now the master hears what it was told before, with nobody there for the answer.
    told.set()
    monkeypatch.setattr(one_pass, "Master", Master)
    passes(fabric.reconciler(), content)
    wait_for(lambda: get(other) == "one")
    assert passes(fabric.reconciler(), content) == []
    assert "listen orders" in fabric.services_file


def hang(relay, word):
    """The socket says nothing to a line with this word, until the event is set."""
    release = threading.Event()

    def change(line):
        if word in line:
            release.wait(600)
        return line

    relay.change = change
    return release


def test_a_master_that_replaces_itself_is_waited_for(fabric, master):
    """Someone else's reload, or one whose author was killed, is under way."""
    port = fabric.service()
    fabric.register(fabric.instance("one").child)
    away = iter(range(3))
    master.change = lambda line: line if next(away, None) is None else ""
    assert fabric.reconcile().problems == ()
    assert get(port) == "one"


def test_reloads_keep_their_distance_whoever_makes_them(fabric, haproxy, tmp_path):
    """Each run has a reconciler of its own, as in a process of its own."""
    fabric.document["reload_interval"] = "1s"
    times = []
    for number in range(3):
        fabric.service(f"service{number}")
        fabric.reconcile()
        times.append(json.loads((tmp_path / "memory.json").read_text())["reloaded_at"])
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
    assert haproxy.reloads() == 3
    assert not fabric.reconcile().changed


def test_a_reload_by_hand_and_ours_keep_their_distance(fabric, master, haproxy):
    """Two of them 10 to 60 ms apart can leave the last configuration not running."""
    for number in range(3):
        name = f"service{number}"
        port = fabric.service(name)
        fabric.register(fabric.instance("one").child, service=name)
        fabric.document["reload_interval"] = "100ms"
        reload_by_hand(haproxy)
        by_hand = time.monotonic()
        assert fabric.reconcile().problems == ()
        assert (
            next(at for at, line in master.lines if line == "reload" and at > by_hand)
            > by_hand + 0.1
        )
        assert get(port) == "one"
    assert not fabric.reconcile().changed


def test_what_was_asked_ahead_is_not_believed_for_long(fabric, haproxy):
    fabric.service()
    one = fabric.instance("one")
    assert passes(fabric.reconciler(), {"inventory": {one.child: b""}}) == []
    name = f"inventory/{one.server('inventory')}"
    runtime = Runtime(str(haproxy.admin_socket), 5)

    def drains():
        (server,) = runtime.services({"inventory"})["inventory"].servers
        return server.draining

    runtime.ask_ahead({"inventory"})
    time.sleep(0.02)
    haproxy.ask(f"set server {name} state drain")
    assert not drains(), "the answer of before"
    assert drains(), "it is used once"
    runtime.ask_ahead({"inventory"})
    time.sleep(0.02)
    haproxy.ask(f"set server {name} state ready")
    time.sleep(0.1)
    assert not drains(), "an answer that is old is not used"
    runtime.ask_ahead({"inventory"})
    runtime.close()
    haproxy.ask(f"set server {name} state drain")
    assert drains()


def test_what_was_asked_ahead_is_for_the_next_look_alone(fabric, haproxy):
    """A look at others first, and then a command: the answer would be of before that."""
    fabric.service()
    fabric.service("other")
    one = fabric.instance("one")
    content = {"inventory": {one.child: b""}, "other": {one.child: b""}}
    assert passes(fabric.reconciler(), content) == []
    runtime = Runtime(str(haproxy.admin_socket), 5)
    runtime.ask_ahead({"inventory"})
    time.sleep(0.02)
    runtime.services({"other"})
    runtime.execute(f"set server inventory/{one.server('inventory')} state drain")
    (server,) = runtime.services({"inventory"})["inventory"].servers
    assert server.draining


def test_a_haproxy_that_is_away_is_told_by_who_needs_it(tmp_path):
    runtime = Runtime(str(tmp_path / "admin.sock"), 5)
    runtime.ask_ahead({"inventory"})
    with pytest.raises(
        HAProxyUnavailable, match=r"No such file or directory; is HAProxy running\?"
    ):
        runtime.services({"inventory"})
