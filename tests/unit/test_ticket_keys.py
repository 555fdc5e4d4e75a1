"""Keys of TLS session tickets: the same on hosts that never speak again, and no way back."""

from __future__ import annotations

import io
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginx_files import ticket_keys

DAY = 20_000
SEED = ticket_keys.Seed(DAY, b"x" * 32)


@given(st.lists(st.integers(0, 5), max_size=6))
def test_keys_depend_on_the_day_alone_and_not_on_when_one_looked(pauses):
    seed, day = SEED, DAY + 1
    for pause in pauses:
        day += pause
        seed = seed.at(day - 1)
    assert ticket_keys.keys(seed, day) == ticket_keys.keys(SEED, day)


def test_each_day_has_a_key_that_the_days_beside_it_open():
    first, second = (ticket_keys.keys(SEED, DAY + number) for number in (1, 2))
    assert second["yesterday.key"] == first["today.key"]
    assert second["today.key"] == first["tomorrow.key"]
    assert len({key[:16] for key in first.values()}) == 3
    assert {len(key) for key in (*first.values(), *second.values())} == {80}


def test_a_clock_that_goes_back_brings_no_former_key():
    ahead = SEED.at(DAY + 9)
    assert ticket_keys.keys(ahead, DAY) == ticket_keys.keys(ahead, DAY + 10)
    assert ahead.at(DAY) == ahead


@pytest.fixture
def told(monkeypatch, tmp_path, capsys):
    def told(word, folder="one", day=DAY, given=""):
        monkeypatch.setattr(ticket_keys.time, "time", lambda: day * 86_400 + 5.0)
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        ticket_keys.main(str(place), word)
        return capsys.readouterr().out.strip()

    return told


def test_a_host_takes_over_anothers_seed_once(told, tmp_path):
    assert told("turn") == "turned"
    assert told("turn") == ""
    assert told("turn", "two") == "turned"
    assert told("names") != told("names", "two")
    seed = told("seed")
    assert told("adopt", "two", given=seed) == "turned"
    assert told("names") == told("names", "two")
    # Days later, and looked at on other days, they still agree; the seed is another one.
    for day in (DAY + 1, DAY + 5):
        told("turn", day=day)
    assert told("turn", "two", day=DAY + 5) == "turned"
    assert told("names") == told("names", "two")
    assert told("seed") == told("seed", "two") != seed
    for path in tmp_path.glob("*/*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"day": 20000, "secret": "00"}', '{"day": 30000, "secret": "' + "00" * 32 + '"}'],
)
def test_what_is_no_seed_is_not_taken_over(told, text):
    told("turn")
    before = told("names")
    with pytest.raises((ValueError, KeyError, SystemExit)):
        told("adopt", given=text)
    assert told("names") == before
