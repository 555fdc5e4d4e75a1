"""What is read from a real ZooKeeper, how often, and what becomes of its failures."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl
from relay import KINDS

from programs import wait_for
from selvage.catalogue import Guards
from selvage.fields import Fields
from selvage.formats.znode import MAX_BYTES
from selvage.registry.connection import RegistryUnavailable, close, connect, connected, ended
from selvage.registry.reader import FORBIDDEN, TOO_LARGE
from selvage.registry.settings import parse_settings
from selvage.registry.view import RegistryView


def settings(zookeeper, **more):
    return parse_settings(
        Fields({"hosts": zookeeper.hosts, "session_timeout": "1m", **more}, "registry")
    )


def guards(**most):
    """Of services, each with the most registrations that it may have."""
    return {service: Guards(max_registrations=number) for service, number in most.items()}


class View:
    """A watching view of services (`most`), and what it asks the registry for, by kind.

    `before` holds, by kind, what happens once before such a request is sent.
    """

    def __init__(self, zookeeper, writer, root, most):
        self.root = root
        self.path = f"{root}/inventory"
        self.writer = writer
        self.changes = threading.Semaphore(0)
        self.client = connect(settings(zookeeper))
        wait_for(lambda: self.client.connected)
        self.requests = Counter()
        self.before = {}
        self._call, self.client._call = self.client._call, self._counted
        self.now = 0.0
        self.view = RegistryView(
            self.client, root, guards(**most), self.changes.release, lambda: self.now
        )

    def _counted(self, request, answer):
        kind = KINDS[request.type]
        self.requests[kind] += 1
        self.before.pop(kind, lambda: None)()
        return self._call(request, answer)

    def after(self, events):
        """The names and data once so many watches have fired, and what was asked for."""
        for _ in range(events):
            assert self.changes.acquire(timeout=60)
        self.requests.clear()
        self.view.refresh(60)
        return dict(self.view.content["inventory"])

    def register(self, child, data=b"", service="inventory"):
        self.writer.create(f"{self.root}/{service}/{child}", data, makepath=True)

    def register_many(self, number, data=b"", service="inventory"):
        path = f"{self.root}/{service}"
        self.writer.ensure_path(path)
        for request in [self.writer.create_async(f"{path}/{n}", data) for n in range(number)]:
            request.get(timeout=60)

    def swap(self, old, new):
        """One transaction replaces a registration by another."""
        transaction = self.writer.transaction()
        transaction.delete(f"{self.path}/{old}")
        transaction.create(f"{self.path}/{new}")
        transaction.commit()


@pytest.fixture
def watching(zookeeper, fabric):
    """Makes views of services, each with the most registrations that it may have."""
    views = []

    def watch(**most):
        views.append(View(zookeeper, fabric.client, fabric.root, most))
        return views[-1]

    yield watch
    for view in views:
        close(view.client)


@pytest.fixture
def view(watching):
    return watching(inventory=10_000)


@pytest.fixture(params=["get", "multi"])
def crowded(request, view):
    """The kind of request that reads data: many znodes are read in other ways than few."""
    others = {f"z{number}": b"" for number in range(3 if request.param == "multi" else 0)}
    for child in others:
        view.register(child)
    return request.param, others


def test_a_change_is_read_and_nothing_else(view):
    for number in range(50):
        view.register(f"10.0.0.{number}:80")
    assert len(view.after(0)) == 50
    # The length of the list, and 4, 8, 16 and 22 registrations.
    assert view.requests == {"children": 1, "multi": 5, "watches": 4}

    view.register("10.0.1.1:80", b"new")
    assert view.after(1)["10.0.1.1:80"] == b"new"
    assert view.requests == {"children": 1, "get": 1}

    view.writer.set(f"{view.path}/10.0.0.7:80", b"changed")
    assert view.after(1)["10.0.0.7:80"] == b"changed"
    assert view.requests == {"get": 1}

    view.writer.delete(f"{view.path}/10.0.0.8:80")
    assert "10.0.0.8:80" not in view.after(2)
    assert view.requests == {"children": 1}

    view.after(0)
    assert view.requests == {}


def test_a_child_made_anew_between_two_reads_is_read_anew(view):
    view.register("a", b"old")
    view.after(0)
    view.writer.delete(f"{view.path}/a")
    view.register("a", b"new")
    assert view.after(2) == {"a": b"new"}
    view.writer.set(f"{view.path}/a", b"newer")
    assert view.after(1) == {"a": b"newer"}


def test_parents_that_do_not_exist_are_watched(view):
    assert view.after(0) == {}
    view.register("a")
    assert view.after(1) == {"a": b""}
    view.writer.delete(view.root, recursive=True)
    wait_for(lambda: view.after(0) == {})
    view.register("b")
    wait_for(lambda: view.after(0) == {"b": b""})


def test_a_service_that_is_made_while_it_is_read_is_there(view):
    view.before["exists"] = lambda: view.register("a")
    assert view.after(0) == {"a": b""}
    view.register("b")
    assert view.after(1) == {"a": b"", "b": b""}


def test_a_child_that_goes_while_it_is_read_is_not_there(view, crowded):
    kind, others = crowded
    view.register("a")
    view.before[kind] = lambda: view.writer.delete(f"{view.path}/a")
    assert view.after(0) == others


def test_a_transaction_is_seen_whole_by_who_has_heard_of_one_change_in_it(view, monkeypatch):
    view.register("a")
    heard = iter([view.view._event])
    monkeypatch.setattr(view.view, "_watch", lambda event: next(heard, lambda _: None)(event))
    view.after(0)
    view.swap("a", "b")
    assert view.after(1) == {"b": b""}


def test_a_transaction_is_seen_whole_by_who_is_just_reading(view, crowded):
    kind, others = crowded
    view.register("a")
    view.before[kind] = lambda: view.swap("a", "b")
    assert view.after(0) == {"b": b"", **others}


@pytest.mark.parametrize("change", ["set", "deleted", "made anew"])
def test_what_changes_before_it_is_watched_fires_at_once(view, change):
    for child in "abcd":
        view.register(child, b"old")

    def happens():
        if change == "set":
            view.writer.set(f"{view.path}/a", b"new")
        else:
            view.writer.delete(f"{view.path}/a")
        if change == "made anew":
            view.register("a", b"new")

    view.before["watches"] = happens
    view.after(0)
    expected = dict.fromkeys("bcd", b"old")
    if change != "deleted":
        expected["a"] = b"new"
    wait_for(lambda: view.after(0) == expected)
    view.writer.set(f"{view.path}/d", b"newer")
    wait_for(lambda: view.after(0)["d"] == b"newer")


def test_what_did_not_change_before_it_is_watched_does_not_fire(view):
    for child in "abcd":
        view.register(child)
    view.after(0)
    assert not view.changes.acquire(blocking=False)


def test_names_as_long_as_names_can_be_fit_into_requests(zookeeper, view):
    """300 of 4,000 characters: in one request, ZooKeeper would cut the connection."""
    names = {f"{number}{'n' * 4_000}" for number in range(300)}
    for name in names:
        view.register(name)
    assert view.after(0) == dict.fromkeys(names, b"")
    view.register("n" * 4_097)
    assert view.after(1)["n" * 4_097] == "the name is longer than 4096 characters"
    view.writer.delete(f"{view.path}/{'n' * 4_097}")
    with connected(settings(zookeeper)) as client:
        once = RegistryView(client, view.root, guards(inventory=10_000))
        once.refresh(60)
    assert once.content["inventory"] == dict.fromkeys(names, b"")


def test_a_failure_is_not_an_empty_service(view, zookeeper):
    view.register("a")
    view.after(0)
    view.register("b")
    assert view.changes.acquire(timeout=60)
    zookeeper.stop()
    try:
        with pytest.raises(RegistryUnavailable):
            view.view.refresh(1)
        assert view.view.content == {"inventory": {"a": b""}}
    finally:
        zookeeper.start()
    wait_for(lambda: view.client.connected)
    # What was stale still is.
    assert view.after(0) == {"a": b"", "b": b""}


def test_watches_are_set_again_after_a_lost_connection(view, zookeeper):
    view.register("a")
    view.after(0)
    zookeeper.stop()
    zookeeper.start()
    wait_for(lambda: view.client.connected and view.writer.connected)
    view.view.expire()
    view.after(0)
    view.register("b")
    assert view.after(1) == {"a": b"", "b": b""}


@pytest.fixture
def secret(zookeeper, fabric):
    """A service that only `reader` may read, and its owner's connection."""
    owner = KazooClient(zookeeper.host, timeout=60, auth_data=[("digest", "reader:s3 cret")])
    owner.start(60)
    acl = [make_digest_acl("reader", "s3 cret", all=True)]
    owner.ensure_path(fabric.root)
    owner.create(f"{fabric.root}/secret/a", b"", acl=acl, makepath=True)
    yield owner
    owner.stop()
    owner.close()


def test_credentials_are_used_and_their_lack_is_told(zookeeper, fabric, secret):
    with connected(settings(zookeeper)) as client, pytest.raises(RegistryUnavailable) as failure:
        RegistryView(client, fabric.root, guards(secret=10)).refresh(60)
    assert "check username, password" in str(failure.value)

    with connected(settings(zookeeper, username="reader", password="s3 cret")) as client:
        view = RegistryView(client, fabric.root, guards(secret=10))
        view.refresh(60)
    assert view.content == {"secret": {"a": b""}}


def test_a_service_that_may_not_be_read_harms_only_itself(zookeeper, fabric, secret):
    fabric.register("b")
    with connected(settings(zookeeper)) as client:
        view = RegistryView(client, fabric.root, guards(inventory=10, secret=10))
        view.refresh(60)
        assert view.content["inventory"] == {"b": b""}
        assert "reading is not allowed" in view.content["secret"]

        # Readable, but for one child.
        secret.set_acls(f"{fabric.root}/secret", OPEN_ACL_UNSAFE)
        secret.create(f"{fabric.root}/secret/c")
        view.expire()
        view.refresh(60)
        assert view.content["secret"] == {"a": FORBIDDEN, "c": b""}

        secret.set_acls(f"{fabric.root}/secret/a", OPEN_ACL_UNSAFE)
        view.expire()
        view.refresh(60)
        assert view.content["secret"] == {"a": b"", "c": b""}


def test_a_list_that_becomes_forbidden_harms_only_its_service(watching, secret):
    view = watching(inventory=10, other=10)
    view.register("a")
    view.register("b", service="other")
    view.after(0)
    closed = [make_digest_acl("reader", "s3 cret", all=True)]
    secret.set_acls(f"{view.root}/other", closed)
    view.view.expire()
    assert view.after(0) == {"a": b""}
    assert view.view.content["other"] == FORBIDDEN
    view.register("c")
    assert view.after(1) == {"a": b"", "c": b""}


@pytest.mark.parametrize("what", ["secret", "secret/a"])
def test_what_becomes_readable_is_found_after_a_while(watching, secret, what):
    """No watch tells of it. Until then it is not asked for again and again."""
    view = watching(inventory=10, secret=10)
    secret.set_acls(f"{view.root}/secret", OPEN_ACL_UNSAFE)
    secret.set_acls(f"{view.root}/{what}", [make_digest_acl("reader", "s3 cret", all=True)])
    view.after(0)
    secret.set_acls(f"{view.root}/secret", OPEN_ACL_UNSAFE)
    secret.set_acls(f"{view.root}/secret/a", OPEN_ACL_UNSAFE)
    view.requests.clear()
    wait_s = view.view.refresh(60)
    assert 0 < wait_s <= 10
    assert not view.requests
    view.now += wait_s
    assert view.view.refresh(60) is None
    assert view.view.content["secret"] == {"a": b""}


def test_large_data_is_refused_and_followed(view):
    for child in "abc":
        view.register(child, b"small")
    view.register("large", bytes(MAX_BYTES + 1))
    expected = {"a": b"small", "b": b"small", "c": b"small", "large": TOO_LARGE}
    assert view.after(0) == expected

    # It is known by then that data may be large here: sizes are asked for first.
    view.writer.set(f"{view.path}/large", bytes(2 * MAX_BYTES))
    assert view.after(1) == expected
    assert view.requests == {"exists": 1, "watches": 1}
    view.writer.set(f"{view.path}/large", b"smaller")
    assert view.after(1)["large"] == b"smaller"
    assert view.requests == {"exists": 1, "multi": 1, "watches": 1}
    view.writer.set(f"{view.path}/large", b"again")
    assert view.after(1)["large"] == b"again"
    assert view.requests == {"get": 1}


def test_a_service_with_too_many_registrations_is_not_read(watching):
    view = watching(inventory=30, other=30)
    view.register("a", service="other")
    view.register_many(31)
    wait_s = view.view.refresh(60)
    reason = "has 31 registrations, and guards.max_registrations is 30"
    assert view.view.content == {"other": {"a": b""}, "inventory": reason}
    assert view.requests["children"] == 1
    assert "inventory" not in "".join(view.client._child_watchers.keys() - {view.path})
    view.writer.delete(f"{view.path}/0")
    view.now += wait_s
    assert view.after(0).keys() == {str(number) for number in range(1, 31)}


def test_more_registrations_than_allowed_are_noticed_when_they_come(watching):
    view = watching(inventory=30)
    view.register_many(10)
    view.after(0)
    for number in range(10, 31):
        view.register(str(number))
    assert view.changes.acquire(timeout=60)
    view.view.refresh(60)
    assert view.view.content["inventory"].startswith("has 31 registrations")


def test_who_has_much_to_read_delays_nobody_and_is_what_it_was_until_it_is_read(watching):
    view = watching(flooded=10_000, inventory=10)
    view.register("former", service="flooded")
    view.register("a")
    view.after(0)
    view.register_many(5_000, service="flooded")
    view.writer.delete(f"{view.root}/flooded/former")
    view.register("b")
    wait_for(lambda: view.view.stale == {"flooded", "inventory"})
    assert view.view.refresh(60) is not None
    assert view.view.content["inventory"] == {"a": b"", "b": b""}
    assert view.view.content["flooded"] == {"former": b""}
    turns = 1
    while (wait_s := view.view.refresh(60)) is not None:
        turns += 1
        assert view.view.content["flooded"] == {"former": b""}
        view.now += wait_s
    assert turns > 1
    assert view.view.content["flooded"].keys() == {str(number) for number in range(5_000)}


def test_what_one_service_may_have_read_in_a_second_is_limited(watching):
    """Whoever changes all the time is read at an even pace, the others at once."""
    view = watching(flooded=10_000, inventory=10)
    view.register("a")
    view.register_many(2_000, service="flooded")
    while view.view.refresh(60) is not None:
        pass
    waits_s = []

    def followed(there):
        waits_s.append(view.view.refresh(60))
        return waits_s[-1] or there == ("again" in view.view.content["flooded"])

    while not waits_s or not waits_s[-1]:
        view.register("again", service="flooded")
        wait_for(lambda: followed(there=True))
        view.writer.delete(f"{view.root}/flooded/again")
        wait_for(lambda: followed(there=False))
        assert view.requests["children"] < 20
    view.requests.clear()
    view.register("b")
    wait_for(lambda: view.view.refresh(60) and "b" in view.view.content["inventory"])
    assert view.requests == {"children": 1, "get": 1}
    view.now += 1
    assert view.view.refresh(60) is None
    assert view.requests["children"] == 2


def test_nothing_is_kept_of_registrations_that_went(view):
    view.register_many(1_000, bytes(100))
    while view.view.refresh(60) is not None:
        view.now += 1
    assert len(view.client._data_watchers) == 1_000
    for request in [view.writer.delete_async(f"{view.path}/{n}") for n in range(1_000)]:
        request.get(timeout=60)

    def gone():
        view.now += 1
        return view.view.refresh(60) is None and view.view.content["inventory"] == {}

    wait_for(gone)
    wait_for(lambda: not view.client._data_watchers)
    assert not view.view._half
    assert not view.view._stale_data


def test_a_client_that_gave_up_is_known_to_have(zookeeper):
    client = connect(settings(zookeeper))
    wait_for(lambda: client.connected)
    assert not ended(client)
    close(client)
    wait_for(lambda: ended(client))
