"""Who is primary, and what others need."""

from __future__ import annotations

import dataclasses

import pytest
from clusters import NAMES, fresh, history, replica, server, silent
from hypothesis import given
from hypothesis import strategies as st

from selvage.mysql import flavours
from selvage.mysql.cluster import New, Primary, Unclear, find_primary, need

WRITER = server("db1", read_only=False)
REPLICA = server("db2", replication=replica("db1"))


def test_without_data_the_inventory_names_the_first():
    assert find_primary([fresh("db1"), fresh("db2")], "db2") == New("db2")


def test_the_writable_one_is_primary_whoever_is_silent():
    writer = server("db2", read_only=False)
    assert find_primary([silent("db1"), writer, fresh("db3")], "db1") == Primary(writer, False)


def test_two_writers_are_never_chosen_from():
    found = find_primary([WRITER, server("db2", read_only=False)], "db1")
    assert isinstance(found, Unclear)
    assert "db1 and db2" in found.reasons[0]


@pytest.mark.parametrize("other", [REPLICA, fresh("db2")])
def test_a_silent_server_may_be_the_primary(other):
    found = find_primary([silent("db1"), other], "db2")
    assert isinstance(found, Unclear)
    assert found.reasons[0].startswith("db1 may be the primary")


def test_after_a_restart_of_all_the_one_without_a_source_is_primary():
    resting = server("db1")
    assert find_primary([REPLICA, resting], "db2") == Primary(resting, True)


def test_a_replica_that_has_more_than_the_primary_is_not_thrown_away():
    ahead = server("db2", replication=replica("db1", received=history(s1=10)))
    found = find_primary([server("db1"), ahead], "db1")
    assert isinstance(found, Unclear)
    assert "0-1-10 (after 0-1-9)" in found.reasons[0]


def test_two_without_a_source_are_not_chosen_from():
    assert isinstance(find_primary([server("db1"), server("db2")], "db1"), Unclear)


def test_a_former_primary_that_has_not_rejoined_is_known_by_what_it_lacks():
    former = server("db1")
    promoted = server("db2", history=history(s1=9, s2=10))
    follower = server("db3", history=history(s1=9, s2=10), replication=replica("db2"))
    assert find_primary([former, promoted, follower], "db1") == Primary(promoted, True)
    # It has more, too: nobody can choose.
    more = server("db1", history=history(s1=11))
    assert isinstance(find_primary([more, promoted, follower], "db1"), Unclear)


def test_of_two_that_are_equal_the_one_that_is_followed_is_primary():
    members = [server("db1"), server("db2"), server("db3", replication=replica("db2"))]
    assert find_primary(members, "db1") == Primary(members[1], True)


def test_a_writable_replica_is_no_primary():
    writable = dataclasses.replace(REPLICA, read_only=False)
    assert isinstance(find_primary([writable, silent("db1")], "db1"), Unclear)


@pytest.mark.parametrize("read_only", [True, False])
def test_data_of_other_people_make_no_primary(read_only):
    found = find_primary([fresh("db1"), server("db2", cluster=None, read_only=read_only)], "db1")
    assert isinstance(found, Unclear)
    assert found.reasons[0].startswith("db2 has data which no cluster of Selvage wrote")


def test_a_seeding_without_a_primary_begins_no_new_cluster():
    found = find_primary([fresh("db1"), server("db2", seeding=True)], "db1")
    assert isinstance(found, Unclear)


states = st.sampled_from(
    [
        lambda name: server(name, read_only=False),
        lambda name: server(name),
        lambda name: server(name, replication=replica("db1")),
        lambda name: server(name, replication=replica("db3")),
        lambda name: server(name, seeding=True),
        fresh,
        silent,
    ]
)


@given(st.tuples(states, states, states), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_the_inventory_decides_nothing_once_there_is_data(made, first, other):
    members = [make(name) for make, name in zip(made, NAMES, strict=True)]
    found = find_primary(members, first)
    if any(one.holds_data or one.problem for one in members):
        assert found == find_primary(members, other)
        assert not isinstance(found, New)
    if isinstance(found, Primary):
        assert found.server.holds_data
        assert found.server.replication is None
        # Nobody else writes, or is let write.
        assert [one for one in members if one.holds_data and not one.read_only] in (
            [],
            [found.server],
        )
        if found.resting:
            assert not any(one.problem for one in members)


@pytest.mark.parametrize(
    ("one", "action", "words"),
    [
        (fresh("db2"), "seed", "has no data"),
        (server("db2", seeding=True), "seed", "starts over"),
        (REPLICA, "keep", "0 s behind"),
        (server("db2", replication=replica("db1", lag_s=9000)), "keep", "9000 s behind"),
        (server("db2", history=history(s1=3), replication=replica("db1")), "keep", "replicates"),
        (
            server("db2", replication=replica("db1", connected=False, lag_s=None)),
            "keep",
            "an unknown time",
        ),
        (server("db2", replication=replica("db3")), "replicate", "198.18.0.3"),
        (server("db2"), "rejoin", "no source"),
        (server("db2", replication=replica("db1", no_entry="1045: x")), "replicate", "1045: x"),
        (server("db2", replication=replica("db1", applying=False)), "start", "without an error"),
        (
            server("db2", replication=replica("db1", applying=False, error="1062: why")),
            "refuse",
            "1062: why",
        ),
        (silent("db2"), "refuse", "connection refused"),
        (server("db2", cluster="two"), "refuse", "of the cluster two"),
        (server("db2", cluster=None), "refuse", "which no cluster of Selvage wrote"),
        (server("db2", version=(10, 6)), "refuse", "MariaDB 10.6"),
        (server("db2", flavour=flavours.MYSQL, version=(11, 8)), "refuse", "MySQL 11.8"),
        (
            server("db2", history=history(s1=9, s2=4), replication=replica("db1")),
            "refuse",
            "0-2-4",
        ),
        (server("db2", history=history(s1=12)), "refuse", "0-1-12 (after 0-1-9)"),
    ],
)
def test_what_a_server_needs(one, action, words):
    said = need(one, WRITER)
    assert said.action == action
    assert words in said.reason
    assert "db2" in said.reason


histories = st.builds(history, s1=st.integers(1, 9), s2=st.integers(1, 9))


@given(histories, histories, states)
def test_nothing_of_a_server_with_data_is_overwritten(mine, primarys, state):
    """Seeded is who has no data, and who has more than the primary becomes no replica."""
    one = state("db2")
    if one.holds_data:
        one = dataclasses.replace(one, history=mine)
    primary = dataclasses.replace(WRITER, history=primarys)
    action = need(one, primary).action
    assert (action == "seed") == (one.seeding or (one.fresh and not one.problem))
    if action in ("replicate", "rejoin", "start", "keep"):
        assert mine.beyond(primarys) == ()
