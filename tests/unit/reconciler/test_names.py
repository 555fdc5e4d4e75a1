"""Host names: looked up at the same time, within limits, remembered and kept."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from programs import wait_for
from selvage.formats.instance import NOTHING
from selvage.reconciler import names
from selvage.reconciler.names import Resolver, look_up


class Zone:
    """A name server: what it holds, what it was asked, and how many asked at the same time."""

    def __init__(self, **records):
        self.records = {name: addresses.split() for name, addresses in records.items()}
        self.now = 0.0
        self.asked = []
        self.at_once = self.most_at_once = 0
        self.told = 0
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
        self.answers.wait(60)
        with self.lock:
            self.at_once -= 1
        if name not in self.records:
            raise OSError("no such name")
        return self.records[name]

    def tell(self):
        self.told += 1

    def resolver(self, known=NOTHING, **limits):
        # A busy machine may take its time to answer.
        limits = {"wait_s": 60.0} | limits
        return Resolver(
            known, look_up=self.look_up, clock=lambda: self.now, on_change=self.tell, **limits
        )

    def wait_for(self, questions):
        for _ in range(questions):
            assert self.begun.acquire(timeout=60)


def addresses(resolver, *hosts, service="inventory"):
    """What is known once everything new was answered."""
    resolver.want(service, hosts)
    resolver.refresh()
    resolver.wait()
    return resolver.addresses(service)


def answered(zone, questions):
    """Wait until so many questions were asked and answered."""
    wait_for(lambda: len(zone.asked) == questions and not zone.at_once)


@pytest.fixture
def zone():
    zone = Zone(app1="10.0.0.1", app2="10.0.0.2")
    yield zone
    zone.answers.set()


@pytest.fixture
def silent(zone):
    """The name server answers nothing until it is told to."""
    zone.answers.clear()
    return zone


def test_names_are_looked_up(zone):
    resolver = zone.resolver()
    assert addresses(resolver, "app1", "app2") == {"app1": "10.0.0.1", "app2": "10.0.0.2"}
    assert sorted(zone.asked) == ["app1", "app2"]
    assert resolver.changed() == {"inventory"}
    assert resolver.changed() == set()
    assert addresses(resolver) == {}


def test_unknown_names_have_no_address(zone):
    resolver = zone.resolver()
    assert addresses(resolver, "app1", "other") == {"app1": "10.0.0.1"}
    assert addresses(zone.resolver(), "other") == {}


def test_answers_are_fresh_for_a_minute(zone):
    resolver = zone.resolver()
    assert resolver.due_s is None
    addresses(resolver, "app1")
    resolver.changed()
    # One that hangs would be due by now.
    zone.now = 5.0
    resolver.refresh()
    assert resolver.due_s == 55.0
    zone.records["app1"] = ["10.0.0.9"]
    zone.now = 59.9
    resolver.refresh()
    assert zone.asked == ["app1"]
    zone.now = 60.0
    resolver.refresh()
    wait_for(lambda: resolver.addresses("inventory") == {"app1": "10.0.0.9"})
    assert resolver.changed() == {"inventory"}


def test_a_failure_is_tried_again_soon_and_then_less_often(zone):
    resolver = zone.resolver()
    assert addresses(resolver, "new") == {}
    for count, pause_s in enumerate((5.0, 10.0, 20.0, 40.0, 60.0, 60.0), 1):
        answered(zone, count)
        zone.now += pause_s - 1.0
        resolver.refresh()
        answered(zone, count)
        zone.now += 1.0
        resolver.refresh()
    answered(zone, 7)
    zone.records["new"] = ["10.0.0.3"]
    zone.now += 61.0
    resolver.refresh()
    wait_for(lambda: resolver.addresses("inventory") == {"new": "10.0.0.3"})


def test_only_services_whose_names_changed_are_told_of(zone):
    resolver = zone.resolver()
    addresses(resolver, "app1", "other")
    addresses(resolver, "app1", "app2", service="orders")
    addresses(resolver, "other", service="zebra")
    assert resolver.changed() == {"inventory", "orders"}
    told = zone.told
    zone.records["app2"] = ["10.0.0.9"]
    zone.now = 60.0
    resolver.refresh()
    wait_for(lambda: zone.told == told + 1)
    assert resolver.changed() == {"orders"}


def test_a_failure_takes_no_address_away(zone):
    resolver = zone.resolver()
    addresses(resolver, "app1")
    for count, answer in enumerate((None, [], ["0.0.0.0"], ["no address"]), 2):
        zone.now += 60
        if answer is None:
            del zone.records["app1"]
        else:
            zone.records["app1"] = answer
        resolver.refresh()
        answered(zone, count)
        assert resolver.addresses("inventory") == {"app1": "10.0.0.1"}


def test_silence_takes_no_address_away_and_is_not_waited_out(silent):
    resolver = silent.resolver({"app1": "10.0.0.1"}, wait_s=0.01)
    assert addresses(resolver, "app1", "app2") == {"app1": "10.0.0.1"}


def test_a_late_answer_is_told_of(silent):
    resolver = silent.resolver(wait_s=0.01)
    assert addresses(resolver, "app1") == {}
    silent.answers.set()
    wait_for(lambda: silent.told)
    assert resolver.changed() == {"inventory"}
    assert resolver.addresses("inventory") == {"app1": "10.0.0.1"}
    assert silent.asked == ["app1"]


def test_a_new_name_is_awaited_for_a_while(silent):
    resolver = silent.resolver()
    resolver.want("inventory", ["app1"])
    assert resolver.awaited("inventory")
    assert resolver.waiting
    assert not resolver.awaited("orders")
    silent.now = 59.9
    assert resolver.awaited("inventory")
    silent.now = 60.0
    assert not resolver.awaited("inventory")
    assert not resolver.waiting


def test_a_known_name_is_not_awaited(silent):
    resolver = silent.resolver({"app1": "10.0.0.1"})
    resolver.want("inventory", ["app1"])
    assert not resolver.awaited("inventory")
    assert resolver.waiting


def test_a_name_that_is_asked_for_again_is_not_awaited(zone):
    resolver = zone.resolver()
    addresses(resolver, "app1", "app3")
    zone.answers.clear()
    zone.now = 60.0
    resolver.refresh()
    zone.wait_for(4)
    assert not resolver.awaited("inventory")


def test_many_are_looked_up_at_the_same_time_and_not_too_many(silent):
    resolver = silent.resolver(at_once=16)
    resolver.want("inventory", [f"host{number}" for number in range(100)])
    silent.wait_for(8)
    silent.answers.set()
    silent.wait_for(92)
    assert silent.most_at_once == 8


def test_names_without_an_answer_delay_only_their_service(silent):
    """However many they are, new or asked for again."""
    resolver = silent.resolver(at_once=16)
    flood = [f"host{number}" for number in range(1_000)]
    resolver.want("inventory", flood)
    resolver.want("orders", ["app1"])
    silent.wait_for(9)
    assert "app1" in silent.asked


def test_a_name_that_another_service_waits_for_does_not_wait_with_it(silent):
    resolver = silent.resolver(at_once=8)
    resolver.want("inventory", [*(f"a{number}" for number in range(10)), "app1"])
    silent.wait_for(4)
    resolver.want("orders", ["app1"])
    silent.wait_for(1)
    assert silent.asked[-1] == "app1"
    # Who asked first is not asked for twice.
    silent.answers.set()
    silent.wait_for(6)
    answered(silent, 11)


def test_names_that_are_given_up_are_not_looked_up(silent):
    resolver = silent.resolver(at_once=2)
    resolver.want("inventory", ["a"])
    silent.wait_for(1)
    for number in range(100):
        resolver.want("inventory", [f"b{number}"])
    resolver.want("inventory", ["app1"])
    silent.answers.set()
    wait_for(lambda: resolver.addresses("inventory"))
    assert silent.asked == ["a", "app1"]


def test_names_asked_again_do_not_delay_new_ones(silent):
    silent.answers.set()
    resolver = silent.resolver(at_once=4)
    old = [f"old{number}" for number in range(10)]
    addresses(resolver, *old)
    silent.wait_for(10)
    silent.answers.clear()
    silent.now = 60.0
    resolver.refresh()
    silent.wait_for(2)
    resolver.want("inventory", [*old, "app1"])
    silent.wait_for(1)
    assert silent.asked[-1] == "app1"


def test_one_that_hangs_is_looked_after_each_five_seconds(silent):
    resolver = silent.resolver()
    resolver.want("inventory", ["app1"])
    silent.wait_for(1)
    for _ in range(3):
        assert resolver.due_s == 5.0
        silent.now += 5.0
        assert resolver.due_s == 0.0
        resolver.refresh()
    assert silent.asked == ["app1"]


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
    assert addresses(zone.resolver(), "app1") == {"app1": chosen}


def test_an_address_stays_while_it_holds(zone):
    resolver = zone.resolver({"app1": "10.0.0.7"})
    zone.records["app1"] = ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
    assert addresses(resolver, "app1") == {"app1": "10.0.0.7"}
    zone.records["app1"] = ["10.0.0.8", "10.0.0.6"]
    zone.now = 60.0
    resolver.refresh()
    wait_for(lambda: resolver.addresses("inventory") == {"app1": "10.0.0.6"})


def test_what_is_known_is_handed_on(zone):
    resolver = zone.resolver({"app9": "10.0.0.9", "bad": "0.0.0.0", "worse": "a\nb"})
    assert resolver.known == {"app9": "10.0.0.9"}
    addresses(resolver, "app1", "other")
    assert resolver.known == {"app1": "10.0.0.1", "app9": "10.0.0.9"}
    assert Resolver(resolver.known).known == resolver.known


def test_what_an_earlier_run_knew_is_confirmed(zone):
    resolver = zone.resolver({"app1": "10.0.0.7", "app9": "10.0.0.9"})
    assert addresses(resolver, "app1", "app9") == {"app1": "10.0.0.1", "app9": "10.0.0.9"}


def test_what_no_service_has_is_remembered_for_an_hour(zone):
    resolver = zone.resolver({"app9": "10.0.0.9"})
    addresses(resolver, "app1", "other")
    addresses(resolver)
    assert resolver.known.keys() == {"app1", "app9"}
    zone.now = 3_599.0
    assert addresses(resolver, "app1") == {"app1": "10.0.0.1"}
    assert resolver.known.keys() == {"app1", "app9"}
    zone.now = 3_600.0
    addresses(resolver, "app2")
    assert resolver.known.keys() == {"app1", "app2"}


def test_of_more_names_than_it_keeps_those_given_up_first_are_forgotten(zone):
    resolver = zone.resolver(most_kept=1)
    for name in ("app1", "app2", "other"):
        addresses(resolver, name)
    assert resolver.known.keys() == {"app2"}


def test_a_hung_look_up_does_not_keep_a_process_from_ending():
    program = """
import threading
from selvage.reconciler.names import Resolver
resolver = Resolver({"a": "10.0.0.1"}, look_up=lambda name: threading.Event().wait(), wait_s=0.1)
resolver.want("s", ["a", "b"])
resolver.wait()
print(resolver.addresses("s"))
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
    assert addresses(Resolver(wait_s=60.0), "localhost")["localhost"] in ("127.0.0.1", "::1")
