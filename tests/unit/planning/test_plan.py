from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.catalogue import Guards, Service, Zone
from selvage.formats.grammar import parse_address
from selvage.formats.registrations import Reading, Refusal, Registration
from selvage.haproxy.servers import LiveService, Server, server_name
from selvage.haproxy.text import render
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
    Undrain,
)
from strategies import (
    as_wanted,
    live_server,
    live_service,
    plan_world,
    servers_in,
    text_of,
    worlds,
    worlds_with_circumstances,
)

INVENTORY = Service("inventory", 3000)
ORDERS = Service("orders", 3001, drain_ms=5_000)


def server(number, service="inventory", **fields):
    address = f"10.0.0.{number}"
    return Server(server_name(service, address, 80), address, 80, **fields)


def reading(*numbers, **fields):
    return Reading(
        tuple(Registration(f"i-{n}", f"10.0.0.{n}", 80, **fields) for n in numbers),
    )


EDITED, OUT = "was edited in the services file", "was taken out of the services file"
A, B, C = server(1), server(2), server(3)


def plan_one(read_now, live, filed=(A, B), service=INVENTORY):
    """The plan of one service that runs with `live` and has `filed` in the file."""
    return plan_world(
        [service],
        {service.name: read_now},
        None if live is None else {service.name: live_service(service, *live)},
        render([service], {service.name: filed}),
    )


def up(*servers, **state):
    return tuple(live_server(one, **state) for one in servers)


def steps(plan):
    return [step for _, step in plan.steps()]


def test_an_unchanged_world():
    plan = plan_one(reading(1, 2), up(A, B))
    assert steps(plan) == []
    assert plan.reload is None
    assert text_of(plan) == render([INVENTORY], {"inventory": [A, B]})
    assert plan.services[0].kept == (A.name, B.name)


def test_what_joins_comes_before_what_leaves():
    plan = plan_one(reading(2, 3), up(A, B))
    assert steps(plan) == [AddServer(C), Drain(A.name), Remove(A.name, 30_000)]
    (service,) = plan.services
    assert (service.added, service.removed, service.changed, service.kept) == (
        (C.name,),
        (A.name,),
        (),
        (B.name,),
    )
    assert service.wanted == (B, C)
    assert servers_in(text_of(plan)) == {"inventory": (B, C)}
    assert plan.reload is None


def test_no_service_waits_for_the_sessions_of_another():
    plan = plan_world(
        [INVENTORY, ORDERS],
        {"inventory": reading(2), "orders": reading(1, 2)},
        {
            "inventory": live_service(INVENTORY, *up(A, B)),
            "orders": live_service(ORDERS, *up(server(1, "orders"))),
        },
        render([INVENTORY, ORDERS], {"inventory": [A, B], "orders": [server(1, "orders")]}),
    )
    assert plan.steps() == (
        ("inventory", Drain(A.name)),
        ("orders", AddServer(server(2, "orders"))),
        ("inventory", Remove(A.name, 30_000)),
    )


def test_weights_and_limits_change_in_place():
    plan = plan_one(reading(1, 2, weight=7, max_connections=9), up(A, B))
    assert steps(plan) == [
        SetMaxConnections(A.name, 9),
        SetWeight(A.name, 7),
        SetMaxConnections(B.name, 9),
        SetWeight(B.name, 7),
    ]
    assert plan.services[0].changed == (A.name, B.name)
    assert plan.reload is None


def test_a_limit_is_lifted():
    limited = replace(A, max_connections=9)
    assert steps(plan_one(reading(1), up(limited), [limited])) == [SetMaxConnections(A.name, None)]


def test_backup_needs_a_new_server():
    registered = (*reading(1, backup=True).registrations, *reading(2).registrations)
    plan = plan_one(Reading(registered), up(A, B), [A, B])
    assert steps(plan) == [Drain(A.name), Replace(replace(A, backup=True), 30_000)]
    assert plan.services[0].changed == (A.name,)


@pytest.mark.parametrize(
    ("live", "filed", "gap"),
    [
        (up(A, B), [A, B], True),
        ((*up(A), *up(B, maintenance=True)), [A, replace(B, disabled=True)], True),
        ((*up(A), *up(replace(B, backup=True))), [A, B], False),
        # Nobody answers anyway.
        (up(A, B, up=False), [A, B], False),
        # It was begun with before.
        ((*up(A, draining=True), *up(replace(B, backup=True))), [A, B], False),
    ],
)
def test_who_is_replaced_leaves_no_gap(live, filed, gap):
    plan = plan_one(reading(1, 2, backup=True), live, filed)
    assert (plan.reload is not None) == gap
    assert plan.services[0].changed
    assert servers_in(text_of(plan)) == {
        "inventory": (replace(A, backup=True), replace(B, backup=True))
    }


def test_an_address_changed_by_hand_is_repaired():
    plan = plan_one(reading(1, 2), (*up(A, address="10.6.6.6"), *up(B)), [A, B])
    assert steps(plan) == [Drain(A.name), Replace(A, 30_000)]


def test_a_service_drains_as_long_as_its_catalogue_says():
    servers = (server(1, "orders"), server(2, "orders"))
    plan = plan_one(reading(2), up(*servers), servers, ORDERS)
    assert steps(plan) == [Drain(servers[0].name), Remove(servers[0].name, 5_000)]


# What an interrupted run leaves behind


def test_a_server_left_in_maintenance_is_admitted():
    plan = plan_one(reading(1, 2), (*up(A), *up(B, maintenance=True)))
    assert steps(plan) == [Admit(B)]
    assert plan.services[0].changed == (B.name,)


def test_a_server_left_without_its_check_is_admitted():
    assert steps(plan_one(reading(1, 2), (*up(A), *up(B, checked=False)))) == [Admit(B)]


def test_settings_are_right_before_traffic():
    assert steps(plan_one(reading(1, 2, weight=5), (*up(A), *up(B, maintenance=True)))) == [
        SetWeight(B.name, 5),
        Admit(replace(B, weight=5)),
        SetWeight(A.name, 5),
    ]


def test_an_instance_that_came_back_is_undrained():
    assert steps(plan_one(reading(1, 2), (*up(A), *up(B, draining=True)))) == [Undrain(B.name)]


@pytest.mark.parametrize("state", [{"draining": True}, {"maintenance": True}])
def test_a_removal_is_finished(state):
    plan = plan_one(reading(1), (*up(A), *up(B, **state)), [A])
    assert steps(plan) == [Remove(B.name, 30_000)]
    assert plan.services[0].removed == (B.name,)


def test_a_server_that_was_persisted_but_not_added_is_added():
    assert steps(plan_one(reading(1, 2, 3), up(A, B), [A, B, C])) == [AddServer(C)]


def test_health_is_haproxys_business():
    assert steps(plan_one(reading(1, 2), up(A, B, up=False, sessions=3))) == []


# Guards


EMPTY = "no valid registration is left, and guards.allow_empty is false"


def test_an_empty_registry_is_not_followed():
    plan = plan_one(reading(), up(A, B))
    assert plan.services[0].held == EMPTY
    assert plan.services[0].wanted == (A, B)
    assert plan.services[0].kept == (A.name, B.name)
    assert steps(plan) == []
    assert text_of(plan) == render([INVENTORY], {"inventory": [A, B]})


def test_nor_is_one_with_refusals_only():
    refusal = Refusal("evil", "no")
    plan = plan_one(Reading(refusals=(refusal,)), up(A, B))
    assert plan.services[0].held == EMPTY
    assert plan.services[0].reading.refusals == (refusal,)


def test_unless_the_catalogue_allows_it():
    service = replace(INVENTORY, guards=Guards(allow_empty=True))
    plan = plan_one(reading(), up(A), [A], service)
    assert plan.services[0].held is None
    assert steps(plan) == [Drain(A.name), Remove(A.name, 30_000)]
    assert servers_in(text_of(plan)) == {"inventory": ()}


def test_a_service_without_servers_may_stay_so():
    plan = plan_one(reading(), (), ())
    assert plan.services[0].held is None
    assert steps(plan) == []


def test_what_could_not_be_read_is_not_followed():
    plan = plan_one(Reading(failure="no permission"), up(A, B))
    assert plan.services[0].held == "its registrations are not known: no permission"
    assert plan.services[0].wanted == (A, B)
    assert steps(plan) == []


def test_nor_what_was_not_read():
    plan = plan_world([INVENTORY], {}, None, render([INVENTORY], {"inventory": [A]}))
    assert plan.services[0].held == "its registrations are not known: it was not read"
    assert plan.services[0].wanted == (A,)


def test_a_held_service_finishes_what_was_decided_before():
    live = (*up(A), *up(B, maintenance=True), *up(C, draining=True))
    plan = plan_one(reading(), live, [A, B])
    assert steps(plan) == [Admit(B), Remove(C.name, 30_000)]
    assert plan.services[0].wanted == (A, B)


def test_a_held_service_keeps_what_runs_without_standing_in_the_file():
    plan = plan_one(reading(), up(A, B), [A])
    assert plan.services[0].wanted == (A, B)
    assert steps(plan) == []


def test_a_held_service_keeps_foreign_servers_out_of_the_file():
    foreign = Server("by-hand", "10.0.0.9", 80)
    plan = plan_one(reading(), up(A, foreign), [A])
    assert steps(plan) == []
    assert servers_in(text_of(plan)) == {"inventory": (A,)}


def test_a_server_that_was_moved_by_hand_is_held_too():
    plan = plan_one(reading(), up(A, address="10.6.6.6"), [])
    assert plan.services[0].held == EMPTY
    assert steps(plan) == []


def test_a_foreign_server_is_removed():
    foreign = Server("by-hand", "10.0.0.9", 80)
    plan = plan_one(reading(1), up(A, foreign), [A])
    assert steps(plan) == [Drain("by-hand"), Remove("by-hand", 30_000)]


def test_one_held_service_does_not_hold_the_others():
    plan = plan_world(
        [INVENTORY, ORDERS],
        {"inventory": reading(), "orders": reading(1)},
        {"inventory": live_service(INVENTORY, *up(A)), "orders": live_service(ORDERS)},
        render([INVENTORY, ORDERS], {"inventory": [A]}),
    )
    assert [service.held is not None for service in plan.services] == [True, False]
    assert plan.steps() == (("orders", AddServer(server(1, "orders"))),)


# Without HAProxy


def test_without_haproxy_the_file_is_all_there_is():
    plan = plan_one(reading(2, 3, weight=4), None, [A, B])
    assert steps(plan) == []
    assert plan.reload is None
    (service,) = plan.services
    assert (service.added, service.removed, service.changed, service.kept) == (
        (C.name,),
        (A.name,),
        (B.name,),
        (),
    )
    assert servers_in(text_of(plan)) == {"inventory": (replace(B, weight=4), replace(C, weight=4))}


def test_without_haproxy_the_guards_look_at_the_file():
    plan = plan_one(reading(), None, [A, B])
    assert plan.services[0].held == EMPTY
    assert servers_in(text_of(plan)) == {"inventory": (A, B)}


# Reloads


def test_a_new_service_needs_a_reload():
    plan = plan_world([INVENTORY], {"inventory": reading(1)}, {}, "")
    assert plan.reload == "inventory: new"
    assert steps(plan) == []
    assert plan.services[0].added == (A.name,)


def test_a_removed_service_needs_a_reload():
    plan = plan_world([], {}, {"inventory": live_service(INVENTORY, *up(A))}, "")
    assert plan.reload == "inventory: removed"


def test_a_proxy_that_is_not_ours_does_not():
    stats = LiveService("stats", None, ())
    plan = plan_world([], {}, {"stats": stats}, render([], {}))
    assert plan.reload is None


def test_unless_it_stands_in_our_file():
    old = LiveService("inventory", None, up(A))
    plan = plan_world([], {}, {"inventory": old}, render([INVENTORY], {"inventory": [A]}))
    assert plan.reload == "inventory: removed"


@pytest.mark.parametrize(
    ("mark", "reason"), [(None, "runs with unknown options"), ("0" * 16, "changed options")]
)
def test_other_options_need_a_reload(mark, reason):
    live = {"inventory": LiveService("inventory", mark, up(A)), "orders": live_service(ORDERS)}
    plan = plan_world(
        [INVENTORY, ORDERS],
        {"inventory": reading(1, 2), "orders": reading(1)},
        live,
        render([INVENTORY, ORDERS], {"inventory": [A]}),
    )
    assert plan.reload == f"inventory: {reason}"
    assert plan.services[0].added == (B.name,)
    assert plan.services[0].steps == ()
    assert plan.steps() == (("orders", AddServer(server(1, "orders"))),)


@pytest.mark.parametrize(
    ("edit", "drift"),
    [
        (lambda text: "", (f"inventory {OUT}",)),
        (lambda text: text.replace("roundrobin", "first"), (f"inventory {EDITED}",)),
        (
            lambda text: text.replace("    server ", "    server x"),
            (f"inventory {EDITED}", f"{A.name} {OUT}"),
        ),
        (lambda text: text.replace(" rise 2", " rise 1"), (f"inventory {EDITED}",)),
        (lambda text: text + "\nlisten evil\n    bind :80\n", ()),
    ],
)
def test_an_edited_file_is_told_and_needs_a_reload(edit, drift):
    good = render([INVENTORY], {"inventory": [A]})
    plan = plan_world(
        [INVENTORY],
        {"inventory": reading(1)},
        {"inventory": live_service(INVENTORY, *up(A))},
        edit(good),
    )
    assert plan.reload == "the services file is missing or was edited"
    assert plan.services[0].drift == drift
    assert text_of(plan) == good


# Any world


def apply(plan, live, probed=None):
    """What HAProxy runs after the plan; a stand-in for the sockets. Who was not probed is down."""
    if plan.reload is not None:
        filed = servers_in(text_of(plan))
        return {
            service.name: LiveService(
                service.name,
                plan_fingerprints(plan)[service.name],
                tuple(loaded(one) for one in filed[service.name]),
            )
            for service in plan.services
        }
    after = {name: {s.name: s for s in service.servers} for name, service in live.items()}
    opened = {step.name for _, step in plan.steps() if isinstance(step, OpenFrontend)}
    for name, step in plan.steps():
        servers = after[name]
        match step:
            case AddServer(new):
                assert new.name not in servers
                servers[new.name] = loaded(new, up=probed is None or probed.get(new.name, False))
            case Admit(_):
                servers[step.name] = replace(
                    servers[step.name], maintenance=False, draining=False, checked=True
                )
            case Undrain(one):
                servers[one] = replace(servers[one], draining=False)
            case Disable(one):
                servers[one] = replace(servers[one], maintenance=True, draining=False)
            case SetMaxConnections(one, limit):
                servers[one] = replace(servers[one], max_connections=limit)
            case SetWeight(one, weight):
                servers[one] = replace(servers[one], weight=weight)
            case Drain(one):
                servers[one] = replace(servers[one], draining=True)
            case Replace(new, _):
                assert servers[new.name].draining or servers[new.name].maintenance
                servers[new.name] = loaded(new)
            case Remove(one, _):
                assert servers[one].draining or servers[one].maintenance
                del servers[one]
    return {
        name: replace(
            service,
            servers=tuple(after[name].values()),
            frontend="open" if name in opened else service.frontend,
        )
        for name, service in live.items()
    }


def loaded(server, **state):
    return live_server(server, maintenance=server.disabled, **state)


def plan_fingerprints(plan):
    """The variables in the text, as a HAProxy that loads it has them."""
    marks = {}
    for line in text_of(plan).splitlines():
        if line.startswith("    set-var proc.selvage."):
            _, variable, value = line.split()
            marks[variable.removeprefix("proc.selvage.").replace(".", "-")] = value[4:-1]
    return marks


def settle(services, readings, live, current, **node):
    """Plan and apply until nothing is left to do; returns the last plan, what runs and the file."""
    for _ in range(4):
        plan = plan_world(services, readings, live, current, **node)
        if not plan.steps() and plan.reload is None and text_of(plan) == current:
            return plan, live, current
        live, current = apply(plan, live, node.get("probed")), text_of(plan)
    raise AssertionError(f"not settled: {plan}")


@given(worlds_with_circumstances())
def test_the_plan_applied_to_what_runs_gives_what_is_wanted(case):
    (services, readings, live, current), node = case
    plan, live, _ = settle(services, readings, live or {}, current, **node)
    for service in plan.services:
        assert live[service.name].frontend == "open"
        running = {one.name: one for one in live[service.name].servers}
        for wanted in service.wanted:
            assert as_wanted(running[wanted.name]) == replace(wanted, disabled=False)
            assert running[wanted.name].maintenance == wanted.disabled
            assert wanted.disabled == (wanted.name in node["maintained"])
            assert running[wanted.name].checked or wanted.disabled
            assert not running[wanted.name].draining
        if service.held is None:
            assert set(running) == {wanted.name for wanted in service.wanted}


@given(worlds_with_circumstances())
def test_what_we_wrote_is_no_drift_whatever_is_registered_next(case):
    (services, readings, live, current), node = case
    plan, live, current = settle(services, readings, live or {}, current, **node)
    held = {service.name for service in plan.services if service.held is not None}
    for registered in (readings, {}, {name: Reading() for name in readings}):
        for service in plan_world(services, registered, live, current, **node).services:
            # While a service is held, it keeps what someone else has added.
            left = {f"{found.name} was added" for found in live[service.name].servers}
            assert set(service.drift) <= (left if service.name in held else set())


@given(worlds_with_circumstances())
def test_what_joins_is_admitted_before_what_leaves_drains(case):
    world, node = case
    for service in plan_world(*world, **node).services:
        kinds = [isinstance(step, (Drain, Remove, Replace)) for step in service.steps]
        assert kinds == sorted(kinds)
        drained = {step.name for step in service.steps if isinstance(step, Drain)}
        assert drained <= {s.name for s in service.steps if isinstance(s, (Remove, Replace))}


@given(worlds_with_circumstances())
def test_a_held_service_loses_nothing(case):
    world, node = case
    _, _, live, current = world
    filed = servers_in(current)
    for service in plan_world(*world, **node).services:
        if service.held is None:
            continue
        found = live.get(service.name) if live is not None else None
        had = {server.name for server in filed.get(service.name, ())}
        if found is not None:
            had &= {server.name for server in found.servers}
            # What runs and what the file says, unless it is on its way out.
            serving = {s.name for s in found.servers if not (s.draining or s.maintenance)}
            assert not serving & set(service.removed)
        assert had <= {server.name for server in service.wanted}
        # Who had traffic by the file's word still has.
        taking = {s.name for s in filed.get(service.name, ()) if s.weight} & had
        assert taking <= {server.name for server in service.wanted if server.weight}


@given(worlds_with_circumstances())
def test_guards_count_only_who_gets_traffic(case):
    (services, readings, live, current), node = case
    filed = servers_in(current)
    plans = plan_world(services, readings, live, current, **node).services
    for service, plan in zip(sorted(services, key=attrgetter("name")), plans, strict=True):
        if plan.held is not None or service.name in node["released"]:
            continue
        left = {server.name for server in plan.wanted if server.weight}
        running = None if live is None else live.get(service.name)
        had = {server.name for server in filed.get(service.name, ()) if server.weight}
        if running is not None:
            had &= {server.name for server in running.servers}
        if had <= left:
            continue
        assert len(left) >= service.guards.min_servers or service.guards.allow_empty
        assert left or service.guards.allow_empty
        most = max(len(had), node["peaks"].get(service.name, 0))
        assert not left or len(left) * 100 >= most * (100 - service.guards.max_loss)


# Per server, whether it has a weight above 0.
WEIGHTS = st.dictionaries(st.integers(1, 4), st.booleans())


@given(
    filed=WEIGHTS,
    registered=WEIGHTS,
    live=st.dictionaries(
        st.integers(1, 4),
        st.fixed_dictionaries({}, optional={"up": st.just(False), "maintenance": st.booleans()}),
    ),
    probed=st.dictionaries(st.integers(1, 4), st.booleans()),
    replaced=st.sets(st.integers(1, 4)),
)
def test_the_last_server_with_traffic_keeps_it_until_another_one_is_known_to_be_healthy(
    filed, registered, live, probed, replaced
):
    found = tuple(
        live_server(server(n, weight=int(filed.get(n, True))), **live[n]) for n in sorted(live)
    )
    registrations = tuple(
        Registration(f"i-{n}", f"10.0.0.{n}", 80, weight=int(registered[n]), backup=n in replaced)
        for n in sorted(registered)
    )
    (service,) = plan_world(
        [INVENTORY],
        {"inventory": Reading(registrations)},
        {"inventory": live_service(INVENTORY, *found)},
        render([INVENTORY], {"inventory": [server(n, weight=int(filed[n])) for n in filed]}),
        probed={server(n).name: passed for n, passed in probed.items()},
        edited=False,
    ).services
    serving = {n for n in live if filed.get(n) and not live[n].get("maintenance")}
    taking = {server.name for server in service.wanted if server.weight}
    left = {n for n in range(1, 5) if server(n).name in taking}
    # Guards: there was traffic, so there is.
    assert left or not serving
    healthy = {n for n in live if live[n].get("up", True) and not live[n].get("maintenance")}
    known = healthy | {n for n, passed in probed.items() if passed}
    if (healthy & serving) - left:
        assert known & left


SOME = st.sets(st.integers(1, 4))


@given(
    filed=SOME,
    registered=SOME,
    live=st.dictionaries(
        st.integers(1, 4),
        st.fixed_dictionaries({}, optional={"up": st.just(False), "maintenance": st.booleans()}),
    ),
    probed=st.dictionaries(st.integers(1, 4), st.booleans()),
)
def test_the_last_healthy_server_goes_only_when_another_one_is_known_to_be_healthy(
    filed, registered, live, probed
):
    (service,) = plan_world(
        [INVENTORY],
        {"inventory": reading(*registered)},
        {"inventory": live_service(INVENTORY, *(up(server(n), **live[n])[0] for n in live))},
        render([INVENTORY], {"inventory": [server(n) for n in filed]}),
        probed={server(n).name: passed for n, passed in probed.items()},
        edited=False,
    ).services
    healthy = {n for n in live if live[n].get("up", True) and not live[n].get("maintenance")}
    known = healthy | {n for n, passed in probed.items() if passed}
    wanted = {n for n in range(1, 5) if server(n) in service.wanted}
    if (healthy & filed) - wanted:
        assert known & wanted
    if service.waiting:
        assert not known & registered


@given(worlds())
def test_one_run_is_enough_unless_it_reloads(world):
    services, readings, live, current = world
    plan = plan_world(services, readings, live, current)
    if live is None or plan.reload is not None:
        after, running = plan_world(services, readings, None, text_of(plan)), None
    else:
        running = apply(plan, live)
        after = plan_world(services, readings, running, text_of(plan))
    assert after.steps() == ()
    assert after.reload is None
    assert text_of(after) == text_of(plan)


@given(worlds())
def test_every_server_line_comes_from_a_valid_registration_or_is_held(world):
    services, readings, live, current = world
    plan = plan_world(services, readings, live, current)
    filed = servers_in(text_of(plan))
    assert set(filed) == {service.name for service in services}
    lines = [line for line in text_of(plan).splitlines() if line.lstrip().startswith("server ")]
    assert len(lines) == sum(map(len, filed.values()))
    for service in plan.services:
        assert filed[service.name] == service.wanted
        if service.held is None:
            registered = {(r.address, r.port) for r in readings[service.name].registrations}
            assert {(s.address, s.port) for s in service.wanted} <= registered
        for one in service.wanted:
            assert parse_address(one.address) == one.address


@given(worlds(), st.randoms())
def test_the_order_of_the_input_does_not_matter(world, random):
    services, readings, live, current = world

    def shuffled(items):
        items = list(items)
        random.shuffle(items)
        return items

    other = plan_world(
        shuffled(services),
        {
            name: replace(one, registrations=tuple(shuffled(one.registrations)))
            for name, one in shuffled(readings.items())
        },
        live
        and {
            name: replace(one, servers=tuple(shuffled(one.servers)))
            for name, one in shuffled(live.items())
        },
        current,
    )
    plan = plan_world(services, readings, live, current)
    assert text_of(other) == text_of(plan)
    assert other.reload == plan.reload
    assert other.steps() == plan.steps()


@given(worlds())
def test_every_name_is_accounted_for_once(world):
    services, readings, live, current = world
    for service in plan_world(services, readings, live, current).services:
        wanted = {one.name for one in service.wanted}
        assert wanted == {*service.added, *service.changed, *service.kept}
        assert len(wanted) == len(service.added) + len(service.changed) + len(service.kept)
        assert not wanted & set(service.removed)


@given(worlds())
def test_an_empty_or_unreadable_registry_never_takes_the_last_server(world):
    services, _, live, current = world
    services = [replace(service, guards=Guards()) for service in services]
    nothing = {service.name: Reading() for service in services}
    for service in plan_world(services, nothing, live, current).services:
        if live is None or service.name not in live:
            before = {one.name for one in servers_in(current).get(service.name, ())}
        else:
            before = {
                one.name
                for one in live[service.name].servers
                if not (one.draining or one.maintenance)
            }
        assert not before & set(service.removed)


# Guards, health and operators


def guarded(**guards):
    return replace(INVENTORY, guards=Guards(**guards))


@pytest.mark.parametrize(
    ("guards", "registered", "reason"),
    [
        ({"min_servers": 2}, [1], "only 1 would be left, and guards.min_servers is 2"),
        ({"min_servers": 2}, [1, 2], None),
        ({"min_servers": 9}, [1, 2, 3, 4], None),  # it never had as many, and loses none
        (
            {"max_loss": 50},
            [1],
            "2 of 3 would be lost within 60 s, and guards.max_loss is 50 %",
        ),
        ({"max_loss": 67}, [1], None),
        ({"max_loss": 33}, [1, 2], "1 of 3 would be lost within 60 s, and guards.max_loss is 33 %"),
        ({"max_loss": 34}, [1, 2], None),
        ({"max_loss": 1}, [4, 5, 6], None),  # replaced, not lost
        ({"allow_empty": True, "min_servers": 3, "max_loss": 1}, [], None),
        ({"min_servers": 3, "max_loss": 1}, [], EMPTY),
    ],
)
def test_guards_hold_losses(guards, registered, reason):
    service = guarded(**guards)
    plan = plan_one(reading(*registered), up(A, B, C), (A, B, C), service)
    assert plan.services[0].held == reason
    gone = {step.name for step in steps(plan) if isinstance(step, Remove)}
    lost = {s.name for s in (A, B, C)} - {server(n).name for n in registered}
    assert gone == (set() if reason else lost)


IDLE = "all that is left has the weight 0, and guards.allow_empty is false"


@pytest.mark.parametrize(
    ("guards", "weights", "reason"),
    [
        ({}, {1: 0, 2: 0, 3: 0}, IDLE),
        ({}, {1: 0}, IDLE),
        ({}, {1: 0, 2: 0, 3: 1}, None),
        ({"allow_empty": True}, {1: 0, 2: 0, 3: 0}, None),
        (
            {"min_servers": 2},
            {1: 0, 2: 0, 3: 1},
            "only 1 would be left, and guards.min_servers is 2",
        ),
        ({"min_servers": 2}, {1: 0, 2: 1, 3: 1}, None),
        (
            {"max_loss": 50},
            {1: 0, 2: 0, 3: 1},
            "2 of 3 would be lost within 60 s, and guards.max_loss is 50 %",
        ),
        ({"max_loss": 50}, {1: 0, 2: 1, 3: 1}, None),
        # Both kinds of loss.
        (
            {"max_loss": 50},
            {1: 0, 3: 1},
            "2 of 3 would be lost within 60 s, and guards.max_loss is 50 %",
        ),
    ],
)
def test_a_weight_of_zero_is_a_loss(guards, weights, reason):
    registered = Reading(
        tuple(Registration(f"i-{n}", f"10.0.0.{n}", 80, weight=w) for n, w in weights.items())
    )
    plan = plan_one(registered, up(A, B, C), (A, B, C), guarded(**guards))
    (service,) = plan.services
    assert service.held == reason
    if reason is None:
        assert [s.weight for s in service.wanted] == [*weights.values()]
    else:
        assert service.wanted == (A, B, C)
        assert steps(plan) == []


def test_a_held_weight_keeps_what_else_is_registered():
    registered = Reading((Registration("i-1", "10.0.0.1", 80, weight=0, max_connections=9),))
    plan = plan_one(registered, up(A), (A,))
    assert plan.services[0].wanted == (replace(A, max_connections=9),)
    assert steps(plan) == [SetMaxConnections(A.name, 9)]


def test_who_had_no_weight_may_go():
    idle = replace(A, weight=0)
    plan = plan_one(reading(2), up(idle, B), (idle, B), guarded(min_servers=1, max_loss=1))
    assert plan.services[0].held is None
    assert Remove(A.name, 30_000) in steps(plan)
    # But not because nobody is registered any more.
    assert plan_one(reading(), up(idle), (idle,)).services[0].held == EMPTY


def test_a_zone_with_a_share_is_a_loss_when_its_weights_are_zero():
    service = replace(INVENTORY, zone=Zone(others="weighted", weight=10))
    far = [Registration(f"i-{n}", f"10.0.0.{n}", 80, weight=0) for n in (1, 2)]
    (plan,) = plan_world(
        [service],
        {"inventory": Reading(tuple(far))},
        {"inventory": live_service(service, *up(A, B))},
        render([service], {"inventory": [A, B]}),
        zone="a",
    ).services
    assert plan.held == IDLE
    assert plan.wanted == (A, B)


def test_weights_that_are_scaled_lose_nobody_else():
    """The largest becomes 256; who gets none keeps what it had."""
    registered = Reading(
        (
            Registration("i-1", "10.0.0.1", 80, weight=0),
            Registration("i-2", "10.0.0.2", 80, weight=0.5),
        )
    )
    plan = plan_one(registered, up(A, B), (A, B), guarded(min_servers=2))
    assert plan.services[0].wanted == (A, replace(B, weight=256))
    assert steps(plan) == [SetWeight(B.name, 256)]


def test_no_weight_waits_for_one_that_is_known_to_be_healthy():
    registered = Reading(
        (
            Registration("i-1", "10.0.0.1", 80, weight=0),
            Registration("i-2", "10.0.0.2", 80, weight=1),
        )
    )
    (service,) = plan_world(
        [INVENTORY],
        {"inventory": registered},
        {"inventory": live_service(INVENTORY, *up(A), *up(B, up=False))},
        render([INVENTORY], {"inventory": [A, B]}),
        probed={},
    ).services
    assert service.waiting
    assert service.wanted == (A, B)


def test_an_operators_word_is_no_loss():
    (service,) = plan_world(
        [INVENTORY],
        {"inventory": reading(1)},
        {"inventory": live_service(INVENTORY, *up(A))},
        render([INVENTORY], {"inventory": [A]}),
        maintained={A.name},
    ).services
    assert service.held is None
    assert service.steps == (Disable(A.name),)


def test_one_without_weight_closes_no_gap():
    """A is replaced while B, which stays, gets no traffic."""
    registered = Reading(
        (
            Registration("i-1", "10.0.0.1", 80, backup=True),
            Registration("i-2", "10.0.0.2", 80, weight=0),
        )
    )
    idle = replace(B, weight=0)
    assert plan_one(registered, up(A, idle), (A, idle)).reload is not None


def test_what_joins_a_held_service_is_let_in():
    plan = plan_one(reading(1, 4), up(A, B, C), (A, B, C), guarded(min_servers=3))
    assert plan.services[0].held is not None
    assert steps(plan) == [AddServer(server(4))]
    assert plan.services[0].wanted == (A, B, C, server(4))


def test_losses_of_earlier_passes_count():
    def held(**node):
        (service,) = plan_world(
            [guarded(max_loss=50)],
            {"inventory": reading(1)},
            {"inventory": live_service(INVENTORY, *up(A, B))},
            render([INVENTORY], {"inventory": [A, B]}),
            **node,
        ).services
        return service.held is not None

    assert not held()
    assert held(peaks={"inventory": 3})
    assert not held(peaks={"inventory": 3}, released={"inventory"})


def test_an_operator_may_release_what_is_held():
    plan = plan_world(
        [INVENTORY],
        {"inventory": reading()},
        {"inventory": live_service(INVENTORY, *up(A))},
        render([INVENTORY], {"inventory": [A]}),
        released={"inventory"},
    )
    assert steps(plan) == [Drain(A.name), Remove(A.name, 30_000)]
    assert plan.services[0].held is None


def replaced(old, probed):
    """A service of `old` servers, in whose place C registered."""
    return plan_world(
        [INVENTORY],
        {"inventory": reading(3)},
        {"inventory": live_service(INVENTORY, *old)},
        render([INVENTORY], {"inventory": [A, B]}),
        probed=probed,
    )


@pytest.mark.parametrize("probed", [{}, {C.name: False}])
def test_a_fleet_stays_until_one_of_the_next_is_known_to_be_healthy(probed):
    plan = replaced(up(A, B), probed)
    (service,) = plan.services
    assert service.waiting
    assert service.held == "nothing of what would be left has passed its check yet"
    assert steps(plan) == [AddServer(C)]
    assert service.wanted == (A, B, C)


def test_it_goes_once_one_is():
    plan = replaced(up(A, B), {C.name: True})
    assert not plan.services[0].waiting
    assert steps(plan)[:3] == [AddServer(C), Drain(A.name), Drain(B.name)]
    plan = replaced(up(A, B, C), {})
    assert not plan.services[0].waiting
    assert steps(plan)[:2] == [Drain(A.name), Drain(B.name)]


def test_who_is_down_may_always_go():
    plan = replaced(up(A, B, up=False), {})
    assert plan.services[0].held is None
    assert Remove(A.name, 30_000) in steps(plan)


def test_a_server_that_an_operator_took_out_stays_in_maintenance():
    def planned(live, filed):
        return plan_world(
            [INVENTORY],
            {"inventory": reading(1, 2)},
            {"inventory": live_service(INVENTORY, *live)},
            render([INVENTORY], {"inventory": filed}),
            maintained={B.name},
        )

    out = replace(B, disabled=True)
    plan = planned(up(A, B), (A, B))
    assert steps(plan) == [Disable(B.name)]
    assert plan.services[0].wanted == (A, out)
    assert steps(planned((*up(A), *up(B, maintenance=True)), (A, out))) == []
    assert steps(planned(up(A), (A,))) == [AddServer(out)]
    back = plan_one(reading(1, 2), (*up(A), *up(B, maintenance=True)), (A, out))
    assert steps(back) == [Admit(B)]
    assert back.services[0].drift == ()


@pytest.mark.parametrize(
    ("live", "drift"),
    [
        (up(A), "{b} was removed"),
        ((*up(A), *up(B, maintenance=True)), "{b} was put into maintenance"),
        ((*up(A), *up(B, draining=True)), "{b} was drained"),
        ((*up(A), *up(B, checked=False)), "{b} was left without its check"),
        ((*up(A), *up(B, weight=7)), "{b} was given the weight 7"),
        ((*up(A), *up(B, max_connections=7)), "{b} was given the limit 7"),
        ((*up(A), *up(B, port=81)), "{b} was changed to 10.0.0.2:81"),
        (up(A, B, C), "{c} was added"),
    ],
)
def test_what_someone_else_changed_is_told_and_repaired(live, drift):
    plan = plan_one(reading(1, 2), live)
    assert plan.services[0].drift == (drift.format(b=B.name, c=C.name),)
    assert steps(plan)


def frontend(state, **node):
    """The plan of a service whose frontend somebody changed."""
    return plan_world(
        [INVENTORY],
        {"inventory": reading(1, 2)},
        {"inventory": replace(live_service(INVENTORY, *up(A)), frontend=state)},
        render([INVENTORY], {"inventory": [A]}),
        **node,
    )


def test_a_frontend_that_was_disabled_is_told_and_opened():
    (service,) = frontend("disabled").services
    assert service.drift == ("inventory was disabled and takes no connections",)
    assert service.steps == (OpenFrontend("inventory"), AddServer(B))
    assert (service.added, service.changed, service.kept) == ((B.name,), (), (A.name,))
    # An earlier pass could not open it, and has told about it.
    assert frontend("disabled", begun={"inventory"}).services[0].drift == ()


@pytest.mark.parametrize("state", ["shut down", "given the limit 0"])
def test_one_that_no_command_opens_needs_a_reload(state):
    plan = frontend(state)
    assert plan.reload == f"inventory: was {state}"
    assert plan.services[0].drift == (f"inventory was {state} and takes no connections",)
    assert plan.steps() == ()


@pytest.mark.parametrize(
    ("live", "filed"),
    [
        (up(A), (A,)),
        (up(A, B, C), (A, B, C)),
        ((*up(A), *up(C, draining=True)), (A,)),
        # It left and came back.
        ((*up(A), *up(B, draining=True)), (A,)),
    ],
)
def test_what_the_registry_changed_is_no_drift(live, filed):
    assert plan_one(reading(1, 2), live, filed).services[0].drift == ()


def test_what_is_being_probed_is_no_drift():
    plan = plan_world(
        [INVENTORY],
        {"inventory": reading(1, 2)},
        {"inventory": live_service(INVENTORY, *up(A))},
        render([INVENTORY], {"inventory": [A, B]}),
        begun={B.name},
    )
    assert plan.services[0].drift == ()
