"""What is read of each service, when, and how much of it is judged at a time."""

import json
import threading

import pytest

from programs import wait_for
from selvage.catalogue import Guards, Service
from selvage.formats import registrations, znode
from selvage.reconciler.names import Resolver
from selvage.reconciler.readings import Readings

SERVICES = (
    Service("inventory", 3000, instance_port=80, guards=Guards(max_registrations=200)),
    Service("orders", 3001, instance_port=80),
)


class World:
    """A registry and a name server. Each znode that is judged takes `cost_s`."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.work = 0.0
        self.cost_s = 0.0
        self.judged = []
        self.names = {"app1": "10.0.1.1"}
        self.answers = threading.Event()
        self.answers.set()
        self.content = {"inventory": {}, "orders": {}}
        self.resolver = Resolver(look_up=self.look_up, clock=lambda: self.now, wait_s=1.0)
        self.readings = Readings(
            SERVICES, self.resolver, clock=lambda: self.now, timer=lambda: self.work
        )
        monkeypatch.setattr(registrations, "parse", self.parse)

    def parse(self, child, data):
        self.judged.append(child)
        self.work += self.cost_s
        return znode.parse(child, data)

    def look_up(self, name):
        self.answers.wait(60)
        if name not in self.names:
            raise OSError
        return [self.names[name]]

    def register(self, service, *children, **more):
        """These are all of the service's registrations from now on."""
        self.content[service] = {**dict.fromkeys(children, b""), **more}

    def read(self):
        self.judged.clear()
        return self.readings.read(self.content, patient=False)

    def addresses(self, service):
        return [found.address for found in self.readings.latest[service].registrations]


@pytest.fixture
def world(monkeypatch):
    world = World(monkeypatch)
    yield world
    world.answers.set()


def named(host):
    return json.dumps({"host": host, "port": 80}).encode()


def many(count):
    return [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(count)]


def test_only_what_changed_is_judged(world):
    world.register("inventory", "10.0.0.1", "10.0.0.2", a=named("10.0.0.3"))
    assert world.read() == {"inventory", "orders"}
    assert len(world.judged) == 3
    assert world.read() == set()
    world.register("inventory", "10.0.0.2", "10.0.0.9", a=named("10.0.0.4"))
    assert world.read() == {"inventory"}
    assert sorted(world.judged) == ["10.0.0.9", "a"]
    assert world.addresses("inventory") == ["10.0.0.2", "10.0.0.4", "10.0.0.9"]


def test_what_left_is_not_remembered(world):
    world.register("inventory", "10.0.0.1")
    world.read()
    world.register("inventory")
    world.read()
    world.register("inventory", "10.0.0.1")
    world.read()
    assert world.judged == ["10.0.0.1"]


def test_a_service_that_took_long_rests_and_the_others_do_not(world):
    world.cost_s = 0.001
    world.register("inventory", "10.0.0.1", "10.0.0.2")
    assert world.read() == {"inventory", "orders"}
    world.register("inventory", "10.0.0.3")
    world.register("orders", "10.0.0.4")
    assert world.read() == {"orders"}
    assert world.readings.look_s == pytest.approx(0.02)
    world.now = 0.02
    assert world.read() == {"inventory"}
    assert world.addresses("inventory") == ["10.0.0.3"]


def test_much_is_judged_a_moment_at_a_time_and_read_when_all_of_it_is(world):
    world.read()
    world.cost_s = 0.001
    world.register("inventory", *many(50))
    assert world.read() == set()
    assert len(world.judged) == 20
    assert world.addresses("inventory") == []
    world.register("orders", "10.0.0.4")
    assert world.read() == {"orders"}
    # One of those that are judged leaves meanwhile.
    world.register("inventory", *many(50)[1:])
    world.now = 0.25
    assert world.read() == set()
    world.now = 0.5
    assert world.read() == {"inventory"}
    assert len(world.judged) == 10
    assert len(world.addresses("inventory")) == 49


def test_what_was_never_read_is_read_in_one_go(world):
    """It would have no servers meanwhile, also after a restart."""
    world.cost_s = 0.001
    world.register("inventory", *many(100))
    assert world.read() == {"inventory", "orders"}
    assert len(world.addresses("inventory")) == 100


def test_more_registrations_than_a_service_may_have_are_not_judged(world):
    world.register("inventory", *many(200))
    world.read()
    assert len(world.addresses("inventory")) == 200
    world.now = 60.0
    world.register("inventory", *many(201))
    assert world.read() == {"inventory"}
    assert world.judged == []
    failure = "has 201 registrations, and guards.max_registrations is 200"
    assert world.readings.latest["inventory"].failure == failure
    world.register("inventory", "10.0.0.1")
    world.read()
    assert world.addresses("inventory") == ["10.0.0.1"]


def test_why_a_znode_or_a_service_was_not_read_is_told(world):
    world.register("inventory", "10.0.0.1", b="reading it is not allowed")
    world.content["orders"] = "reading is not allowed"
    assert world.read() == {"inventory", "orders"}
    reading = world.readings.latest["inventory"]
    assert [(r.child, r.reason) for r in reading.refusals] == [("b", "reading it is not allowed")]
    assert world.addresses("inventory") == ["10.0.0.1"]
    assert world.readings.latest["orders"].failure == "reading is not allowed"


def test_a_listener_of_haproxy_is_no_instance(world):
    world.register("inventory", "127.0.0.1:3001", "127.0.0.1:3002")
    world.read()
    assert [found.port for found in world.readings.latest["inventory"].registrations] == [3002]


def test_an_address_that_comes_or_changes_concerns_its_services_alone(world):
    world.register("inventory", a=named("app1"))
    world.register("orders", "10.0.0.2")
    wait_for(world.read)
    wait_for(lambda: world.read() == {"inventory"} or world.readings.again_s is None)
    assert world.addresses("inventory") == ["10.0.1.1"]
    world.names["app1"] = "10.0.1.2"
    world.now = 60.0
    wait_for(lambda: world.read() == {"inventory"})
    assert world.addresses("inventory") == ["10.0.1.2"]
    assert world.judged == []


def test_a_service_waits_a_moment_for_a_new_name_and_not_for_ever(world):
    world.register("inventory", "10.0.0.1")
    world.read()
    world.answers.clear()
    world.register("inventory", "10.0.0.2", a=named("app1"))
    assert world.read() == set()
    assert world.readings.again_s is not None
    assert world.readings.look_s == 1.0
    world.now = 0.9
    world.register("inventory", "10.0.0.2", a=named("app1"), b=named("app2"))
    assert world.read() == set()
    world.now = 1.0
    # Although the other name is asked for since a moment ago only.
    assert world.read() == {"inventory"}
    assert world.addresses("inventory") == ["10.0.0.2"]
    reasons = {r.child: r.reason for r in world.readings.latest["inventory"].refusals}
    assert reasons["b"] == "the name app2 cannot be resolved"


def test_names_without_an_answer_are_no_reason_to_read_anything(world):
    world.names.clear()
    world.register("inventory", "10.0.0.1", a=named("nowhere"))
    wait_for(lambda: world.read() and world.readings.again_s is None)
    for _ in range(10):
        world.now += 5.0
        assert world.readings.look_s is not None
        assert world.read() == set()
        assert world.judged == []
