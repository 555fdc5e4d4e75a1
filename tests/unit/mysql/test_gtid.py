"""Histories against plain sets of transactions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.fields import Invalid
from selvage.mysql import gtid

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"

sources = st.sampled_from([A, B, f"{A}:tag"])
transactions = st.sets(st.tuples(sources, st.integers(1, 12)))
states = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(1, 3)), st.integers(1, 9), max_size=6
)


def mysql_set(pairs):
    return gtid.mysql(",".join(f"{source}:{number}" for source, number in pairs))


def flat(history):
    return {
        (source, number)
        for source, intervals in history.sources.items()
        for first, last in intervals
        for number in range(first, last + 1)
    }


def maria(state):
    return gtid.mariadb(",".join(f"{d}-{s}-{n}" for (d, s), n in state.items()))


@given(transactions, transactions)
def test_sets_of_mysql_behave_as_sets(one, other):
    left, right = mysql_set(one), mysql_set(other)
    assert flat(left - right) == one - other
    assert flat(left | right) == one | other
    assert bool(left) == bool(one)
    assert bool(left.beyond(right)) == bool(one - other)


@given(transactions)
def test_a_set_of_mysql_reads_what_it_writes(pairs):
    assert gtid.mysql(mysql_set(pairs).position()) == mysql_set(pairs)


def test_intervals_that_touch_are_one():
    assert gtid.mysql(f"{A}:3-5:1-2:7,\n{A}:6").position() == f"{A}:1-7"


def test_tags_are_sources_of_their_own():
    assert gtid.mysql(f"{A}:1-3:blue:1-2").sources == {A: ((1, 3),), f"{A}:blue": ((1, 2),)}


@pytest.mark.parametrize("text", ["x", f"{A}", f"{A}:0", f"{A}:5-3", f"{A}:1-", f"{A}:-", "0-1-2"])
def test_what_is_no_set_of_mysql_is_refused(text):
    with pytest.raises(Invalid):
        gtid.mysql(text)


@given(states, states)
def test_what_mariadb_has_beyond_is_what_the_other_lacks(one, other):
    left, right = maria(one), maria(other)
    lacking = [key for key, number in one.items() if number > other.get(key, 0)]
    assert len(left.beyond(right)) == len(lacking)
    assert left.beyond(left | right) == ()
    assert (left | right).beyond(right) == left.beyond(right)


def test_errant_transactions_are_named_with_the_last_common_one():
    old = gtid.mariadb("0-1-105,1-3-2")
    assert old.beyond(gtid.mariadb("0-1-100,0-2-110")) == ("0-1-105 (after 0-1-100)", "1-3-2")


def test_positions_of_one_server_add_up():
    assert gtid.mariadb("0-1-5, 0-2-7", "0-1-9", "").last == {(0, 1): 9, (0, 2): 7}


@pytest.mark.parametrize("text", ["0-1", "0-1-2-3", "a-1-2", "0-1--2", f"{A}:1"])
def test_what_is_no_position_of_mariadb_is_refused(text):
    with pytest.raises(Invalid):
        gtid.mariadb(text)


def test_two_flavours_have_nothing_in_common():
    assert gtid.beyond(gtid.mariadb("0-1-1"), gtid.mysql(""))
    assert gtid.beyond(gtid.mariadb(""), gtid.mysql(f"{A}:1")) == ()


def test_a_seeded_server_knows_what_its_source_knew_and_goes_on_at_its_place():
    source = gtid.mariadb("0-1-100,0-2-140,1-2-7")
    assert gtid.seeded_state(source, "0-1-150,1-2-9") == "0-2-140,0-1-150,1-2-9"
    assert gtid.seeded_state(gtid.NOTHING, "") == ""


@given(states, states)
def test_nothing_common_is_errant_after_a_seeding(before, later):
    """The backup stands where the source was, or later."""
    source = maria(before)
    position = maria({key: number + 20 for key, number in later.items()})
    seeded = gtid.mariadb(gtid.seeded_state(source, ",".join(position.beyond(gtid.NOTHING))))
    assert (source | position).beyond(seeded) == ()
    assert seeded.beyond(source | position) == ()
