"""`guards.max_servers: 1`: who gets the traffic, and never two, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.catalogue import Guards, Service
from selvage.formats.registrations import Reading, Refusal, Registration
from selvage.haproxy.servers import LiveService, Server, server_name
from selvage.haproxy.text import fingerprint, render
from selvage.planning.steps import (
    AddServer,
    Admit,
    Disable,
    Drain,
    OpenFrontend,
    Remove,
    Replace,
    SetMaxConnections,
    SetWeight,
    Stop,
    Undrain,
)
from strategies import live_server, live_service, mostly, plan_world, servers_in, text_of

DB = Service("db", 3307, mode="tcp", guards=Guards(max_servers=1))


def server(number, **fields):
    address = f"10.0.0.{number}"
    return Server(server_name("db", address, 80), address, 80, **fields)


def reading(*numbers, **fields):
    """Registered in this order."""
    return Reading(
        tuple(
            Registration(f"i-{n}", f"10.0.0.{n}", 80, created=created, **fields)
            for created, n in enumerate(numbers, 1)
        )
    )


A, B, C = server(1), server(2), server(3)
BY_HAND = Server("by-hand", "10.0.0.9", 80)


def up(*servers, **state):
    return tuple(live_server(one, **state) for one in servers)


def plan_one(read_now, live, filed, probed=(), service=DB, **node):
    """The plan of the one service; those of `probed` have passed."""
    (plan,) = plan_world(
        [service],
        {"db": read_now},
        None if live is None else {"db": live_service(service, *live)},
        render([service], {"db": filed}),
        **{"probed": dict.fromkeys((one.name for one in probed), True), **node},
    ).services
    return plan


# Who gets it


def test_the_first_of_all_joins_as_anywhere():
    plan = plan_one(reading(1), (), ())
    assert plan.steps == (AddServer(A),)
    assert (plan.held, plan.held_out) == (None, ())


def test_a_newer_one_is_held_out_until_its_check_has_passed():
    plan = plan_one(reading(1, 2), up(A), [A])
    assert plan.steps == ()
    assert plan.wanted == (A,)
    assert plan.candidates == (B,)
    assert plan.held_out == (
        Refusal("i-2", "its check has not passed; 10.0.0.1:80 has the traffic"),
    )
    assert plan.held is None


def test_then_the_former_one_stops_before_it_joins():
    plan = plan_one(reading(1, 2), up(A, sessions=3), [A], [B])
    # A restart at this moment brings back the former one, alone.
    assert (plan.steps, plan.wanted) == ((Stop(A.name),), (A,))
    stopped = up(A, maintenance=True)
    plan = plan_one(reading(1, 2), stopped, [A], [B])
    assert (plan.steps, plan.wanted) == ((AddServer(B), Remove(A.name, 30_000)), (B,))
    assert plan.held_out == (
        Refusal("i-1", "10.0.0.2:80 has the traffic, and was registered later"),
    )
    # When its check fails after all, the former one has the traffic again.
    assert plan_one(reading(1, 2), stopped, [A]).steps == (Admit(A),)


def test_sessions_that_do_not_end_keep_others_waiting():
    plan = plan_one(reading(1, 2), up(A, maintenance=True, sessions=1), [A], [B])
    assert plan.steps == (Stop(A.name),)


def test_so_do_sessions_that_a_reload_left_behind():
    node = {"elsewhere": {"db": {A.name, B.name}}}
    assert plan_one(reading(2), (), (), [B], **node).steps == (Stop(A.name),)
    assert plan_one(reading(2), (), (), [B]).steps == (AddServer(B),)


@pytest.mark.parametrize("state", [{}, {"up": False}])
def test_an_older_one_does_not_get_it_back(state):
    """It does not swing: who has it keeps it while it is registered."""
    plan = plan_one(reading(1, 2), up(B, **state), [B], [A])
    assert plan.steps == ()
    assert plan.held_out == (
        Refusal("i-1", "10.0.0.2:80 has the traffic, and was registered later"),
    )


def test_unless_it_registers_anew():
    assert plan_one(reading(2, 1), up(B), [B], [A]).steps == (Stop(B.name),)


def test_or_the_newer_one_leaves():
    assert plan_one(reading(1), up(B), [B], [A]).steps == (Stop(B.name),)
    waits = plan_one(reading(1), up(B), [B])
    assert (waits.steps, waits.wanted, waits.waiting) == ((), (B,), True)
    assert waits.held == "nothing of what would be left has passed its check yet"
    # Who is down has nothing to keep.
    assert plan_one(reading(1), up(B, up=False), [B]).steps == (Stop(B.name),)


def test_of_three_the_newest_whose_check_passes():
    plan = plan_one(reading(3, 1, 2), (), (), [A, C])
    assert plan.wanted == (A,)
    assert plan.candidates == (B,)
    assert [one.reason for one in plan.held_out] == [
        "10.0.0.1:80 has the traffic, and was registered later",
        "its check has not passed; 10.0.0.1:80 has the traffic",
    ]


def test_of_two_that_are_new_and_fail_nobody_joins():
    """Whoever did would keep the other one from it."""
    plan = plan_one(reading(1, 2), (), ())
    assert (plan.steps, plan.waiting, plan.candidates) == ((), True, (B, A))
    assert plan.held == "nothing that is registered has passed its check yet"


def test_of_one_transaction_the_name_tells():
    both = Reading(tuple(replace(r, created=7) for r in reading(1, 2).registrations))
    assert plan_one(both, (), (), [A, B]).wanted == (B,)


def test_one_without_weight_asks_for_nothing():
    registered = Reading(
        (*reading(1).registrations, Registration("i-2", "10.0.0.2", 80, weight=0, created=9))
    )
    plan = plan_one(registered, up(A), [A], [B])
    assert (plan.steps, plan.wanted) == ((), (A,))


# Guards, operators, hands


def test_the_last_one_is_held():
    plan = plan_one(reading(), up(A), [A])
    assert plan.held == "no valid registration is left, and guards.allow_empty is false"
    assert (plan.steps, plan.wanted) == ((), (A,))
    assert plan_one(reading(), up(A), [A], released={"db"}).steps == (
        Drain(A.name),
        Remove(A.name, 30_000),
    )


def test_a_registry_that_is_away_changes_nothing_but_a_second_one():
    away = Reading(failure="it is away")
    plan = plan_one(away, up(A, B), [A], [B])
    assert (plan.steps, plan.wanted) == ((Stop(B.name),), (A,))
    assert plan_one(away, up(A), [A]).steps == ()
    node = {"kept": {"db": "it is away"}}
    assert plan_one(away, up(A, BY_HAND), [A], **node).steps == (Stop("by-hand"),)
    assert plan_one(away, up(BY_HAND), [], **node).steps == (Stop("by-hand"),)


def test_who_is_in_maintenance_by_an_operators_word_is_no_candidate():
    plan = plan_one(reading(1, 2), up(A), [A], [B], maintained={B.name})
    assert plan.wanted == (A, replace(B, disabled=True))
    assert plan.steps == (AddServer(replace(B, disabled=True)),)
    # Who has the traffic loses it to the next one, if that one's check passes.
    node = {"maintained": {A.name}}
    assert plan_one(reading(2, 1), up(A), [A], [B], **node).steps == (Stop(A.name),)
    assert plan_one(reading(2, 1), up(A), [A], **node).steps == (Disable(A.name),)


def test_a_second_one_by_hand_stops():
    plan = plan_one(reading(1), up(A, BY_HAND), [A])
    assert (plan.steps, plan.wanted) == ((Stop("by-hand"),), (A,))
    assert plan.drift == ("by-hand was added",)
    assert plan.removed == ("by-hand",)
    # A newer registration whose check fails, too.
    plan = plan_one(reading(1, 2), up(A, *up(B, up=False)[:0]) + up(B, up=False), [A])
    assert (plan.steps, plan.drift) == ((Stop(B.name),), (f"{B.name} was added",))


def test_what_was_exchanged_by_hand_is_put_back():
    plan = plan_one(reading(1), up(A, maintenance=True) + up(BY_HAND), [A])
    assert (plan.steps, plan.wanted) == ((Stop("by-hand"),), (A,))
    assert plan_one(reading(1), up(A, maintenance=True), [A]).steps == (Admit(A),)


def test_another_address_is_another_server():
    plan = plan_one(reading(1), up(A, address="10.6.6.6"), [A])
    assert plan.steps == (Stop(A.name),)


def test_a_guard_that_is_new_leaves_the_newest():
    plan = plan_one(reading(1, 3, 2), up(A, B, C), [A, B, C])
    assert plan.wanted == (B,)
    assert plan.steps == (Stop(A.name), Stop(C.name))


def test_a_reload_waits_for_who_has_to_stop():
    """It would leave their sessions to a worker that ends some day."""
    other = replace(DB, balance="leastconn")
    plan = plan_world(
        [other],
        {"db": reading(1, 2)},
        {"db": live_service(DB, *up(A))},
        render([DB], {"db": [A]}),
        probed={B.name: True},
    )
    assert plan.reload == "db: changed options"
    assert (plan.services[0].steps, plan.services[0].wanted) == ((Stop(A.name),), (A,))


def test_without_haproxy_the_file_has_the_one_that_shall_serve():
    plan = plan_one(reading(1, 2), None, [A], [B])
    assert (plan.steps, plan.wanted) == ((), (B,))


# Any world

NUMBERS = st.integers(1, 4)
SOME = st.sets(NUMBERS)
STATES = st.fixed_dictionaries(
    {},
    optional={
        "up": st.booleans(),
        "checked": st.booleans(),
        "maintenance": st.booleans(),
        "draining": st.booleans(),
        "weight": st.integers(0, 2),
        "backup": st.booleans(),
        "address": st.just("10.6.6.6"),
        "sessions": st.integers(0, 2),
    },
)


def names(numbers):
    return {server(number).name for number in numbers}


@st.composite
def worlds(draw):
    """The service, what is registered, what runs, what is filed, and what else matters."""
    service = replace(DB, guards=Guards(max_servers=1, allow_empty=draw(st.booleans())))
    service = replace(service, balance=draw(mostly("roundrobin", "leastconn")))
    registered = reading(
        *draw(st.permutations(sorted(draw(SOME)))), weight=draw(mostly(1, 0)), backup=draw(
            mostly(False, True)
        )
    )  # fmt: skip
    registered = draw(mostly(registered, Reading(failure="it could not be read")))
    live = [live_server(server(n), **draw(STATES)) for n in sorted(draw(SOME))]
    live += [live_server(BY_HAND, **draw(STATES))] if draw(mostly(False, True)) else []
    mark = draw(mostly(fingerprint(service), "0" * 16, None))
    frontend = draw(mostly("open", "disabled", "shut down"))
    running = {"db": LiveService("db", mark, tuple(live), frontend)}
    filed = [server(n, backup=draw(st.booleans())) for n in draw(SOME)]
    node = {
        "maintained": names(draw(SOME)),
        "probed": dict.fromkeys(names(draw(SOME)), True),
        "begun": names(draw(SOME)),
        "released": draw(mostly(set(), {"db"})),
        "kept": draw(mostly({}, {"db": "it is rejected"})),
    }
    if node["kept"]:
        # A pass judges the file without such services.
        node["edited"] = False
    current = draw(mostly(render([service], {"db": filed}), ""))
    live = draw(mostly(running, {}, None))
    if live == {}:
        # What HAProxy rejects and does not run has no options to keep.
        node["kept"] = {}
    return service, registered, live, current, node


def traffic(live, elsewhere):
    """Who has traffic, or could get some at once, as machines: by address."""
    found = {
        (one.name, one.address)
        for service in (live or {}).values()
        for one in service.servers
        if (one.weight and not (one.maintenance or one.draining)) or one.sessions
    }
    return found | elsewhere


class World:
    """HAProxy as it runs: every step is one moment."""

    def __init__(self, live, elsewhere=(), stubborn=()):
        self.live = live
        # Sessions of workers that a reload has left behind.
        self.elsewhere = set(elsewhere)
        # Their sessions do not end when they are told to, the first time.
        self.stubborn = set(stubborn)
        self.moments = [traffic(live, self.elsewhere)]

    def look(self):
        now, before = traffic(self.live, self.elsewhere), self.moments[-1]
        # Nobody gets traffic while anyone else has some.
        assert not now - before or len(now) == 1, (before, now)
        self.moments.append(now)

    def change(self, name, **state):
        if "db" not in self.live:
            return
        service = self.live["db"]
        servers = tuple(replace(s, **state) if s.name == name else s for s in service.servers)
        self.live = {"db": replace(service, servers=servers)}

    def add(self, new):
        service = self.live["db"]
        assert new.name not in {one.name for one in service.servers}
        added = live_server(new, maintenance=new.disabled)
        self.live = {"db": replace(service, servers=(*service.servers, added))}

    def remove(self, name):
        service = self.live["db"]
        servers = tuple(one for one in service.servers if one.name != name)
        (gone,) = set(service.servers) - set(servers)
        assert not gone.serves
        self.live = {"db": replace(service, servers=servers)}

    def take(self, step):
        match step:
            case AddServer(new):
                self.add(new)
            case Admit(_):
                self.change(step.name, maintenance=False, draining=False, checked=True)
            case Undrain(one):
                self.change(one, draining=False)
            case Disable(one):
                self.change(one, maintenance=True, draining=False)
            case Stop(one):
                if one in self.stubborn:
                    self.stubborn.discard(one)
                    self.change(one, maintenance=True)
                else:
                    self.elsewhere = {s for s in self.elsewhere if s[0] != one}
                    self.change(one, maintenance=True, sessions=0)
            case SetMaxConnections(one, limit):
                self.change(one, max_connections=limit)
            case SetWeight(one, weight):
                self.change(one, weight=weight)
            case Drain(one):
                self.change(one, draining=True)
            case Replace(new, _):
                self.remove(new.name)
                self.look()
                self.add(new)
            case Remove(one, _):
                self.remove(one)
            case OpenFrontend(_):
                self.live = {"db": replace(self.live["db"], frontend="open")}
        self.look()

    def reload(self, plan, service):
        """The sessions stay with the former worker."""
        old = self.live.get("db")
        left = {(s.name, s.address) for s in (old.servers if old else ()) if s.sessions}
        self.elsewhere |= left
        filed = servers_in(text_of(plan)).get("db", ())
        servers = tuple(live_server(one, maintenance=one.disabled) for one in filed)
        self.live = {"db": LiveService("db", fingerprint(service), servers)}
        self.look()


@given(worlds(), SOME, SOME)
def test_never_two_in_any_step_of_any_plan(world, elsewhere, stubborn):
    service, registered, live, current, node = world
    machines = {(server(n).name, server(n).address) for n in elsewhere}
    if live:
        # Under the name of one whose address somebody changed: HAProxy does not tell them apart.
        machines -= {(s.name, "10.0.0." + s.name[-4]) for s in live["db"].servers
                     if s.address == "10.6.6.6"}  # fmt: skip
    haproxy = World(live, machines, names(stubborn))
    for _ in range(12):
        plan = plan_world(
            [service],
            {"db": registered},
            haproxy.live,
            current,
            elsewhere={"db": {name for name, _ in haproxy.elsewhere}},
            **node,
        )
        (one,) = plan.services
        assert len([s for s in servers_in(text_of(plan)).get("db", ()) if not s.disabled]) <= 1 or (
            one.options is not None and text_of(plan) == current
        )
        if haproxy.live is None:
            break
        if one.stops:
            assert {*one.steps} == {*one.stops}
            for step in one.steps:
                haproxy.take(step)
        elif plan.reload is not None:
            current = text_of(plan)
            haproxy.reload(plan, service)
        else:
            if text_of(plan) == current and not one.steps:
                break
            current = text_of(plan)
            for step in one.steps:
                haproxy.take(step)
    else:
        raise AssertionError(f"not settled: {plan}")
    if haproxy.live is not None:
        assert len(haproxy.moments[-1]) <= 1


@given(worlds())
def test_who_has_the_traffic_is_the_newest_that_may(world):
    service, registered, live, current, node = world
    node = {**node, "kept": {}}
    plan = plan_world([service], {"db": registered}, live, current, **node)
    (one,) = plan.services
    taking = [s for s in one.wanted if not s.disabled]
    assert len(taking) <= 1
    if one.held is not None or one.stops or not taking:
        return
    order = [server(int(r.child[2:])).name for r in registered.registrations if r.weight]
    assert taking[0].name in order
    for newer in order[order.index(taking[0].name) + 1 :]:
        # A newer one has not passed, or an operator took it out.
        assert newer in node["maintained"] or not node["probed"].get(newer)
