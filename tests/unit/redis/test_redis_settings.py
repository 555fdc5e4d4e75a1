"""Which settings differ, and which of them need a restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.redis.settings import FIXED, differences, same

names = st.sampled_from([*sorted(FIXED)[:4], "maxmemory", "appendfsync", "save", "hz"])
values = st.sampled_from(["", "yes", "no", "100", "64mb", "67108864", "64MB", "1kb", "1k", "900 1"])
tables = st.dictionaries(names, values)


@given(tables, tables)
def test_what_was_told_differs_no_more(wanted, actual):
    found = differences(wanted, actual)
    assert not found.live.keys() & found.restart.keys()
    assert found.restart.keys() <= FIXED
    assert not found.live.keys() & FIXED
    assert set(found.unknown) == wanted.keys() - actual.keys()
    again = differences(wanted, {**actual, **found.live})
    assert not again.live
    assert again.restart == found.restart
    # Settings that nobody asked for are nobody's business.
    assert not {*found.live, *found.restart} - wanted.keys()


@given(values, values)
def test_same_works_both_ways(one, other):
    assert same(one, other) == same(other, one)
    assert same(one, one)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("64mb", "67108864", True),
        ("1k", "1000", True),
        ("1K", "1kb", False),
        ("yes", "Yes", False),
        ("", "0", False),
        ("010", "10", True),
    ],
)
def test_sizes_have_units(one, other, equal):
    assert same(one, other) is equal
