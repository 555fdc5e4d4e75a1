"""How many znodes are asked for at once."""

from __future__ import annotations

import random

import pytest

from selvage.registry.reader import _Window

MIB = 1024 * 1024


def test_after_small_answers_more_is_asked_for() -> None:
    window = _Window([f"{number}" for number in range(1_000)])
    asked = []
    while part := window.next(str):
        asked.append(len(part))
        window.answered(100 * len(part))
    assert asked == [4, 8, 16, 32, 64, 128, 256, 256, 236]


def test_after_a_large_answer_less_is_asked_for() -> None:
    window = _Window([f"{number}" for number in range(20)])
    assert len(window.next(str)) == 4
    window.answered(4 * MIB)
    assert len(window.next(str)) == 1
    window.answered(100)
    assert len(window.next(str)) == 2


def test_long_paths_make_small_requests() -> None:
    window = _Window(["n" * 10_000 for _ in range(10)])
    assert len(window.next(str)) == 3
    assert len(_Window(["n" * 100_000]).next(str)) == 1


@pytest.mark.parametrize("large", [5, 50, 500, 1_000])
def test_wherever_large_data_is_no_answer_has_much_of_it(large: int) -> None:
    """Each of 1 MiB, beside small ones: nobody can put them where many are read."""
    random.seed(large)
    for _ in range(100):
        window = _Window([f"{number}" for number in range(1_000)])
        while part := window.next(str):
            size = sum(MIB if int(number) < large else 100 for number in part)
            assert size < 24 * MIB
            window.answered(size)
