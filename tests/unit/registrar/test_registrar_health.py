"""Rise, fall and drain, against a plain reading of the rules."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from selvage.registrar.health import Health, Status, Wish, wish

results = st.lists(st.booleans(), max_size=40)
counts = st.integers(1, 5)


def after(results: list[bool], rise: int, fall: int) -> Health:
    health = Health(rise, fall)
    for healthy in results:
        health = health.after(healthy)
    return health


@given(results, counts, counts)
def test_the_last_long_enough_run_decides(results: list[bool], rise: int, fall: int) -> None:
    status = Status.UNKNOWN
    for healthy, run in groupby(results):
        length = len(list(run))
        if healthy and length >= rise:
            status = Status.UP
        if not healthy and length >= fall:
            status = Status.DOWN
    assert after(results, rise, fall).status is status


@given(st.sampled_from(Status), st.booleans())
def test_what_is_leaving_is_absent_whatever_its_health(status: Status, leaving: bool) -> None:
    assert (wish(status, leaving) is Wish.ABSENT) == (leaving or status is Status.DOWN)
    assert (wish(status, leaving) is Wish.PRESENT) == (not leaving and status is Status.UP)
