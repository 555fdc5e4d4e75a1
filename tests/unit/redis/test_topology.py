"""Who is primary: whatever was asked in which order, and whoever stands first in the inventory."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from selvage.redis.facts import Server, Watch
from selvage.redis.topology import (
    Member,
    Ports,
    Primary,
    Seen,
    UndecidedError,
    not_heard_of,
    order,
    primary,
    quorum,
    shortcomings,
    strangers,
    successor,
)

PORTS = Ports(6379, 26379)
COUNT = 4
ADDRESSES = [f"192.0.2.{number}" for number in range(1, COUNT + 1)]
MEMBERS = [Member(f"redis{number}", address) for number, address in enumerate(ADDRESSES, 1)]
NAMES = [member.name for member in MEMBERS]


def server(follows=None, **more):
    place = None if follows is None else (follows, PORTS.server)
    return replace(Server("8.0.2", False, place, True, 100), **more)


def watch(number, at, known=ADDRESSES):
    others = [address for address in known if address != ADDRESSES[number]]
    return Watch(
        id=f"{number:040x}",
        primary=(at, PORTS.server),
        epoch=1,
        flags=frozenset({"master"}),
        replicas=tuple((address, PORTS.server) for address in known if address != at),
        sentinels=tuple((address, PORTS.sentinel) for address in others),
    )


def healthy(at):
    return [
        Seen(member, server(None if member.address == at else at), watch(number, at))
        for number, member in enumerate(MEMBERS)
    ]


servers = st.none() | st.builds(server, st.none() | st.sampled_from(ADDRESSES))
sights = st.tuples(
    *(
        st.builds(
            lambda found, at, number=number: Seen(
                MEMBERS[number], found, None if at is None else watch(number, at)
            ),
            servers,
            st.none() | st.sampled_from([*ADDRESSES, "192.0.2.99"]),
        )
        for number in range(COUNT)
    )
)


@given(sights, st.permutations(range(COUNT)), st.sets(st.sampled_from(NAMES)))
def test_the_inventory_decides_nothing_once_anybody_answers(seen, places, new):
    assume(any(one.server or one.watch for one in seen))
    said = []
    for way in (seen, [seen[place] for place in places]):
        try:
            said.append(primary(way, new).address)
        except UndecidedError:
            said.append(None)
    # What two halves of the Sentinels say is decided by the servers, not by who was asked first.
    assert said[0] == said[1]


@given(
    sights,
    st.sampled_from([*ADDRESSES, "192.0.2.99"]),
    st.sets(st.sampled_from(range(COUNT)), min_size=quorum(COUNT)),
)
def test_a_majority_of_sentinels_is_followed_whatever_servers_say(seen, chosen, voters):
    seen = [
        replace(one, watch=watch(number, chosen)) if number in voters else one
        for number, one in enumerate(seen)
    ]
    if chosen in ADDRESSES:
        assert primary(seen, ()) == Primary(chosen, "sentinels")
    else:
        with pytest.raises(UndecidedError, match="not among the members"):
            primary(seen, ())


@given(sights, st.sets(st.sampled_from(NAMES)))
def test_a_primary_is_always_a_member(seen, new):
    try:
        assert primary(seen, new).address in ADDRESSES
    except UndecidedError as error:
        assert "\n" not in str(error)


@given(st.sets(st.sampled_from(NAMES)))
def test_the_first_member_counts_only_while_all_are_known_to_be_new(new):
    silent = [Seen(member) for member in MEMBERS]
    if new == set(NAMES):
        assert primary(silent, new) == Primary(ADDRESSES[0], "inventory")
    else:
        with pytest.raises(UndecidedError, match="there may be data"):
            primary(silent, new)


@given(st.sampled_from(ADDRESSES), st.sets(st.sampled_from(NAMES)))
def test_who_lost_its_data_is_no_primary(at, new):
    """Its replicas would copy nothing, and forget what they have."""
    name = NAMES[ADDRESSES.index(at)]
    if name in new:
        with pytest.raises(UndecidedError, match=f"{name} is primary .* has no data any more"):
            primary(healthy(at), new)
    else:
        assert primary(healthy(at), new).address == at


def test_why_nobody_answers_is_told():
    seen = [Seen(member, problems=("redis-server (…) lets selvage not in",)) for member in MEMBERS]
    with pytest.raises(UndecidedError, match=r"redis1 redis-server \(…\) lets selvage not in"):
        primary(seen, ())


def test_two_primaries_without_a_majority_are_refused_by_name():
    seen = [Seen(MEMBERS[0], server()), Seen(MEMBERS[1], server()), *map(Seen, MEMBERS[2:])]
    with pytest.raises(UndecidedError, match="redis1 and redis2 are primaries at once"):
        primary(seen, ())


@given(st.sampled_from(ADDRESSES))
def test_nothing_is_wrong_with_a_healthy_set(at):
    seen = healthy(at)
    found = primary(seen, ())
    assert found == Primary(at, "sentinels")
    assert shortcomings(seen, PORTS, found) == []
    assert strangers(seen) == []


def test_a_sentinel_that_has_not_heard_of_a_replica_is_named():
    """Its former primary, which it would take for one that has been it all the time."""
    at = Primary(ADDRESSES[0], "sentinels")
    one, two, *others = healthy(at.address)
    behind = replace(two, watch=replace(two.watch, former=((ADDRESSES[2], PORTS.server),)))
    assert not_heard_of([one, two, *others], at) == []
    assert not_heard_of([one, behind, *others], at) == [
        "redis2 has a Sentinel that has not heard yet that redis3 replicates"
    ]


def faults(one, at):
    """Everything that may be wrong with one member."""
    yield replace(one, server=None, problems=("redis-server (…) does not answer",))
    yield replace(one, watch=None, problems=("redis-sentinel (…) does not answer",))
    yield replace(one, server=replace(one.server, loading=True))
    if one.server.follows is None:
        yield replace(one, server=server("192.0.2.99"))
    else:
        yield replace(one, server=server())
        yield replace(one, server=server("192.0.2.99"))
        yield replace(one, server=replace(one.server, in_sync=False))
    yield replace(one, watch=replace(one.watch, primary=("192.0.2.99", PORTS.server)))
    yield replace(one, watch=replace(one.watch, flags=frozenset({"master", "s_down"})))
    yield replace(one, watch=replace(one.watch, replicas=()))
    yield replace(one, watch=replace(one.watch, sentinels=()))


@pytest.mark.parametrize("place", range(COUNT))
def test_every_fault_of_one_member_is_told_by_its_name(place):
    at = Primary(ADDRESSES[0], "sentinels")
    seen = healthy(at.address)
    for broken in faults(seen[place], at.address):
        now = [*seen[:place], broken, *seen[place + 1 :]]
        wrong = shortcomings(now, PORTS, at)
        assert wrong
        assert all(line.startswith(MEMBERS[place].name) for line in wrong), wrong
        # Who is not in the run is not waited for, unless it is the primary.
        others = [name for name in NAMES if name != MEMBERS[place].name]
        assert bool(shortcomings(now, PORTS, at, among=others)) == (place == 0)


def test_hosts_that_are_members_no_more_are_named():
    at = ADDRESSES[0]
    seen = [
        replace(one, watch=watch(number, at, [*ADDRESSES, "192.0.2.77"]))
        for number, one in enumerate(healthy(at))
    ]
    assert strangers(seen) == ["192.0.2.77"]


@given(st.permutations(NAMES), st.sampled_from(NAMES))
def test_the_primary_restarts_last(names, last):
    found = order(names, last)
    assert sorted(found) == sorted(names)
    assert found[-1] == last


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=COUNT, max_size=COUNT))
def test_the_successor_is_in_sync_and_has_read_most(states):
    at = Primary(ADDRESSES[0], "sentinels")
    seen = [
        replace(one, server=replace(one.server, in_sync=in_sync, offset=offset))
        for one, (in_sync, offset) in zip(healthy(at.address), states, strict=True)
    ]
    able = {one.member: one.server.offset for one in seen[1:] if one.server.in_sync}
    found = successor(seen, PORTS, at)
    assert found is None if not able else able[found] == max(able.values())
