"""How soon a service that was read may be read again."""

from __future__ import annotations

import pytest

from selvage.registry.shares import A_SECOND, Shares


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def shares(now: list[float]) -> Shares:
    return Shares(lambda: now[0])


def test_a_seconds_share_may_be_used_at_once(shares: Shares) -> None:
    shares.spend("inventory", A_SECOND // 2)
    assert shares.wait_s("inventory") == 0
    shares.spend("inventory", A_SECOND // 2)
    assert 0 < shares.wait_s("inventory") < 0.1
    assert shares.wait_s("orders") == 0


def test_what_is_not_used_is_not_saved_for_longer(shares: Shares, now: list[float]) -> None:
    now[0] += 3600
    shares.spend("inventory", 3 * A_SECOND)
    assert 2 < shares.wait_s("inventory") < 2.1
    now[0] += 2.1
    assert shares.wait_s("inventory") == 0


def test_small_turns_count_too(shares: Shares) -> None:
    for _ in range(A_SECOND // 100 + 1):
        shares.spend("inventory", 0)
    assert shares.wait_s("inventory") > 0
