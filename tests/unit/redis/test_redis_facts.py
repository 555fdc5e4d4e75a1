"""What servers say, as values; and what somebody else might say instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.redis import facts
from selvage.redis.facts import OddError, Replica

PRIMARY = """# Server
redis_version:7.0.15
# Replication
role:master
connected_slaves:1
slave0:ip=192.0.2.2,port=6379,state=online,offset=280,lag=1
master_repl_offset:294
loading:0
"""
REPLICA = """# Replication
role:slave
master_host:192.0.2.1
master_port:6379
master_link_status:up
master_sync_in_progress:0
slave_repl_offset:294
loading:0
redis_version:8.0.2
"""
ID = "51ac4de91eace9ee2811b199428a838e1b3a0e82"


def test_a_primary_and_its_replicas():
    found = facts.server(PRIMARY)
    assert found.follows is None
    assert found.replicas == (Replica(("192.0.2.2", 6379), True),)
    assert (found.offset, found.version, found.loading) == (294, "7.0.15", False)


@pytest.mark.parametrize(
    ("change", "in_sync"),
    [
        (("", ""), True),
        (("link_status:up", "link_status:down"), False),
        (("sync_in_progress:0", "sync_in_progress:1"), False),
    ],
)
def test_a_replica_is_in_sync_or_not(change, in_sync):
    found = facts.server(REPLICA.replace(*change))
    assert found.follows == ("192.0.2.1", 6379)
    assert found.in_sync is in_sync


@pytest.mark.parametrize(
    "text", ["", "role:sentinel", "role:master", REPLICA.replace("192.0.2.1", "elsewhere")]
)
def test_what_is_no_answer_of_a_server_is_refused(text):
    with pytest.raises(OddError):
        facts.server(text)


words = st.sampled_from(
    [
        "role",
        ":",
        "master",
        "slave",
        "slave0",
        "ip=1.2.3.4",
        ",",
        "port=1",
        "\n",
        "7",
        "-",
        "master_host",
    ]
)


@given(st.text() | st.lists(words, max_size=40).map("".join))
def test_no_text_is_more_than_refused(text):
    try:
        facts.server(text)
    except OddError as error:
        assert "\n" not in str(error)


def test_a_sentinel():
    told = ["name", "selvage", "ip", "192.0.2.1", "port", "6379", "flags", "master,s_down"]
    other = ["ip", "192.0.2.2", "port", "26379"]
    replicas = [
        ["ip", "192.0.2.2", "port", "6379", "role-reported", "slave"],
        ["ip", "192.0.2.3", "port", "6379", "role-reported", "master"],
    ]
    found = facts.watch(ID, [*told, "config-epoch", "3"], replicas, [other])
    assert found.primary == ("192.0.2.1", 6379)
    assert found.flags == {"master", "s_down"}
    assert found.sentinels == (("192.0.2.2", 26379),)
    assert found.replicas == (("192.0.2.2", 6379), ("192.0.2.3", 6379))
    assert found.former == (("192.0.2.3", 6379),)
    assert found.epoch == 3


answers = st.recursive(
    st.none() | st.integers() | st.sampled_from(["ip", "port", "192.0.2.1", "6379", "x"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=8,
)


@given(st.just(ID) | st.text(max_size=5), answers, st.lists(answers), st.lists(answers))
def test_no_answer_of_a_sentinel_is_more_than_refused(identity, told, replicas, sentinels):
    with pytest.raises(OddError):
        facts.watch(identity, told, replicas, sentinels)
