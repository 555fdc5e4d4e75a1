"""Host names: looked up at the same time, within limits, remembered and kept."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from selvage.reconciler import names
from selvage.reconciler.names import Resolver, look_up


class Zone:
    """A name server: what it holds, what it was asked, and how many asked at the same time."""

    def __init__(self, **records):
        self.records = {name: addresses.split() for name, addresses in records.items()}
        self.now = 0.0
        self.asked = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.begun = threading.Semaphore(0)
        self.answers = threading.Event()
        self.answers.set()

    def look_up(self, name):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            self.asked.append(name)
        self.begun.release()
        self.answers.wait()
        with self.lock:
            self.at_once -= 1
        if name not in self.records:
            raise OSError("no such name")
        return self.records[name]

    def clock(self):
        return self.now

    def resolver(self, **known):
        return Resolver(known, self.look_up, self.clock)

    def wait_for(self, questions):
        for _ in range(questions):
            assert self.begun.acquire(timeout=60)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine may take its time to answer."""
    monkeypatch.setattr(names, "WAIT_S", 60)
    monkeypatch.setattr(names, "WAIT_AGAIN_S", 60)


@pytest.fixture
def zone():
    zone = Zone(app1="10.0.0.1", app2="10.0.0.2")
    yield zone
    zone.answers.set()


@pytest.fixture
def silent(zone, monkeypatch):
    """The name server answers nothing until it is told to, and nobody waits for it long."""
    monkeypatch.setattr(names, "WAIT_S", 0.01)
    monkeypatch.setattr(names, "WAIT_AGAIN_S", 0.01)
    zone.answers.clear()
    return zone


def test_names_are_looked_up(zone):
    resolver = zone.resolver()
    assert resolver.addresses(["app1", "app2", "app1"]) == {"app1": "10.0.0.1", "app2": "10.0.0.2"}
    assert sorted(zone.asked) == ["app1", "app2"]
    assert resolver.addresses([]) == {}


def test_unknown_names_have_no_address(zone):
    assert zone.resolver().addresses(["app1", "other"]) == {"app1": "10.0.0.1"}


def test_answers_are_fresh_for_a_minute(zone):
    resolver = zone.resolver()
    resolver.addresses(["app1"])
    zone.records["app1"] = ["10.0.0.9"]
    zone.now = 59.9
    assert resolver.addresses(["app1"]) == {"app1": "10.0.0.1"}
    assert zone.asked == ["app1"]
    zone.now = 60.0
    assert resolver.addresses(["app1"]) == {"app1": "10.0.0.9"}


def test_a_failure_is_tried_again_soon(zone):
    resolver = zone.resolver()
    assert resolver.addresses(["new"]) == {}
    zone.records["new"] = ["10.0.0.3"]
    zone.now = 4.9
    assert resolver.addresses(["new"]) == {}
    zone.now = 5.0
    assert resolver.addresses(["new"]) == {"new": "10.0.0.3"}


def test_a_failure_takes_no_address_away(zone):
    resolver = zone.resolver()
    resolver.addresses(["app1"])
    for answer in (None, [], ["0.0.0.0"], ["no address"]):
        zone.now += 60
        if answer is None:
            del zone.records["app1"]
        else:
            zone.records["app1"] = answer
        assert resolver.addresses(["app1"]) == {"app1": "10.0.0.1"}
    assert len(zone.asked) == 5


def test_silence_takes_no_address_away_and_is_not_waited_out(silent):
    resolver = silent.resolver(app1="10.0.0.1")
    assert resolver.addresses(["app1", "app2"]) == {"app1": "10.0.0.1"}


def test_a_question_is_waited_for_once(silent, monkeypatch):
    resolver = silent.resolver()
    assert resolver.addresses(["app1"]) == {}
    silent.wait_for(1)
    # To wait is a TypeError now.
    monkeypatch.setattr(names, "WAIT_S", "1")
    monkeypatch.setattr(names, "WAIT_AGAIN_S", "1")
    silent.now = 60.0
    assert resolver.addresses(["app1"]) == {}
    assert silent.asked == ["app1"]


def test_a_late_answer_counts_at_the_next_call(silent, monkeypatch):
    monkeypatch.setattr(names, "AT_ONCE", 1)
    resolver = silent.resolver()
    assert resolver.addresses(["app1"]) == {}
    silent.wait_for(1)
    silent.answers.set()
    # The one worker answers this after the other.
    monkeypatch.setattr(names, "WAIT_S", 60)
    resolver.addresses(["app2"])
    assert resolver.addresses(["app1"]) == {"app1": "10.0.0.1"}
    assert silent.asked == ["app1", "app2"]


def test_a_new_name_is_awaited_for_a_while(silent, monkeypatch):
    monkeypatch.setattr(names, "IMPATIENT_S", 0.01)
    monkeypatch.setattr(names, "WAIT_S", 60)
    resolver = silent.resolver()
    assert resolver.addresses(["app1"], patient=False) == {}
    assert resolver.awaited == {"app1"}
    silent.now = 59.9
    assert resolver.awaited == {"app1"}
    silent.now = 60.0
    assert resolver.awaited == set()
    silent.answers.set()
    silent.now = 120.0
    assert resolver.addresses(["app2"]) == {"app2": "10.0.0.2"}
    assert resolver.awaited == set()


def test_a_known_name_is_not_awaited(silent, monkeypatch):
    monkeypatch.setattr(names, "WAIT_S", 1.0)
    resolver = silent.resolver(app1="10.0.0.1")
    assert resolver.addresses(["app1"], patient=False) == {"app1": "10.0.0.1"}
    assert resolver.awaited == set()


def test_a_name_that_is_asked_for_again_is_not_awaited(zone):
    resolver = zone.resolver()
    resolver.addresses(["app1", "app3"])
    zone.answers.clear()
    zone.now = 60.0
    resolver.addresses(["app1", "app3"], patient=False)
    zone.wait_for(2)
    assert resolver.awaited == set()


def test_many_are_looked_up_at_the_same_time_and_not_too_many(silent):
    resolver = silent.resolver()
    resolver.addresses([f"host{number}" for number in range(3 * names.AT_ONCE)])
    silent.wait_for(names.AT_ONCE)
    silent.answers.set()
    silent.wait_for(2 * names.AT_ONCE)
    assert silent.most_at_once == names.AT_ONCE


def test_names_asked_again_do_not_delay_new_ones(silent, monkeypatch):
    monkeypatch.setattr(names, "AT_ONCE", 1)
    silent.answers.set()
    monkeypatch.setattr(names, "WAIT_S", 60)
    resolver = silent.resolver()
    resolver.addresses(["app1"])
    resolver.addresses(["old"])
    silent.wait_for(2)
    monkeypatch.setattr(names, "WAIT_S", 0.01)
    silent.answers.clear()
    silent.now = 60.0
    resolver.addresses(["busy"])
    silent.wait_for(1)
    resolver.addresses(["old", "app1"])
    resolver.addresses(["new"])
    silent.answers.set()
    silent.wait_for(3)
    assert silent.asked[2:] == ["busy", "new", "app1", "old"]


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["10.0.0.10", "10.0.0.9"], "10.0.0.9"),
        (["2001:db8::1", "10.0.0.9"], "10.0.0.9"),
        (["2001:db8::10", "2001:db8::9"], "2001:db8::9"),
        (["0.0.0.0", "224.0.0.1", "fe80::1%1", "10.0.0.9"], "10.0.0.9"),
        (["::ffff:10.0.0.9"], "10.0.0.9"),
        (["10.0.0.9", "10.0.0.1"], "10.0.0.1"),
    ],
)
def test_of_several_addresses_the_lowest_counts(zone, answers, chosen):
    zone.records["app1"] = answers
    assert zone.resolver().addresses(["app1"]) == {"app1": chosen}


def test_an_address_stays_while_it_holds(zone):
    resolver = zone.resolver(app1="10.0.0.7")
    zone.records["app1"] = ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
    assert resolver.addresses(["app1"]) == {"app1": "10.0.0.7"}
    zone.records["app1"] = ["10.0.0.8", "10.0.0.6"]
    zone.now = 60.0
    assert resolver.addresses(["app1"]) == {"app1": "10.0.0.6"}


def test_what_is_known_is_handed_on(zone):
    resolver = zone.resolver(app9="10.0.0.9", bad="0.0.0.0", worse="a\nb")
    assert resolver.known == {"app9": "10.0.0.9"}
    resolver.addresses(["app1", "other"])
    assert resolver.known == {"app1": "10.0.0.1", "app9": "10.0.0.9"}
    assert Resolver(resolver.known).known == resolver.known


def test_what_an_earlier_run_knew_is_confirmed(zone):
    resolver = zone.resolver(app1="10.0.0.7", app9="10.0.0.9")
    assert resolver.addresses(["app1", "app9"]) == {"app1": "10.0.0.1", "app9": "10.0.0.9"}


def test_of_more_names_than_it_keeps_those_not_asked_for_are_forgotten(zone, monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 2)
    resolver = zone.resolver()
    resolver.addresses(["app1"])
    resolver.addresses(["app2"])
    resolver.addresses(["app1"])
    zone.records["app3"] = ["10.0.0.3"]
    resolver.addresses(["app3"])
    assert resolver.known == {"app1": "10.0.0.1", "app3": "10.0.0.3"}


def test_what_is_not_asked_for_is_forgotten(zone):
    resolver = zone.resolver(app9="10.0.0.9")
    resolver.addresses(["app1"])
    zone.now = 3_599.0
    resolver.addresses(["app2"])
    assert resolver.known.keys() == {"app1", "app2", "app9"}
    zone.now = 3_600.0
    resolver.addresses(["other"])
    assert resolver.known.keys() == {"app2"}


def test_a_flood_of_names_takes_no_address_away(zone, monkeypatch):
    monkeypatch.setattr(names, "MAX_NAMES", 2)
    resolver = zone.resolver()
    resolver.addresses(["app1", "app2"])
    flood = ["a", "aa", "app1", "app2", "b"]
    assert resolver.addresses(flood) == {"app1": "10.0.0.1", "app2": "10.0.0.2"}
    assert sorted(zone.asked) == ["app1", "app2"]


def test_a_hung_look_up_does_not_keep_a_process_from_ending():
    program = """
import threading
from selvage.reconciler.names import Resolver
print(Resolver({"a": "10.0.0.1"}, lambda name: threading.Event().wait()).addresses(["a", "b"]))
"""
    path = Path(names.__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == "{'a': '10.0.0.1'}\n"
    assert ended.stderr == ""


def test_the_resolver_of_this_host():
    assert set(look_up("localhost")) <= {"127.0.0.1", "::1"}
    assert Resolver().addresses(["localhost"])["localhost"] in ("127.0.0.1", "::1")
