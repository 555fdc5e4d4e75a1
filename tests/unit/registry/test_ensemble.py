"""What an ensemble says of itself: three listeners on loopback answer as ZooKeeper does."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_modules import load

from programs import free_port
from selvage.registry.ensemble import Member, MemberStatus, look, shortcomings, wait

NO_QUORUM = "This ZooKeeper instance is not currently serving requests\n"
FORBIDDEN = "srvr is not executed because it is not in the whitelist.\n"


def srvr(mode: str) -> str:
    return (
        "Zookeeper version: 3.9.3--1, built on 2026-01-14 07:49 UTC\n"
        f"Zxid: 0x100000002\nMode: {mode}\nNode count: 5\n"
    )


def mntr(synced: int) -> str:
    return f"zk_server_state\tleader\nzk_synced_followers\t{synced}\nzk_synced_observers\t0\n"


class Listener:
    """Answers each word with the next of its texts, the last one again and again."""

    together: threading.Barrier | None = None

    def __init__(self, address: str, port: int) -> None:
        self.answers: dict[str, list[str]] = {}
        self.hangs = threading.Event()
        self.socket = socket.create_server((address, port))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                texts = self.answers[connection.recv(4).decode()]
                text = texts.pop(0) if len(texts) > 1 else texts[0]
                if text == "hang":
                    self.hangs.wait()
                if self.together is not None:
                    self.together.wait(60)
                connection.sendall(text.encode())

    def close(self) -> None:
        self.hangs.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class Ensemble:
    """zk1 to zk3 on 127.0.0.1 to 127.0.0.3, all on one port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.members = [Member(n, f"zk{n}", f"127.0.0.{n}") for n in (1, 2, 3)]
        self.listeners: list[Listener] = []

    def answer(self, *answers: str | list[str] | None, synced: int = 2) -> None:
        """What zk1, zk2, ... say to `srvr`; None for a member that is down."""
        for member, answer in zip(self.members, answers, strict=False):
            if answer is not None:
                listener = Listener(member.address, self.port)
                texts = answer if isinstance(answer, list) else [answer]
                listener.answers = {"srvr": texts, "mntr": [mntr(synced)]}
                self.listeners.append(listener)

    def look(self, timeout_s: float = 60) -> list[MemberStatus]:
        return look(self.members, self.port, timeout_s)

    def wrong(self, *expected: int) -> list[str]:
        return shortcomings(self.look(), expected)


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    ensemble = Ensemble()
    yield ensemble
    for listener in ensemble.listeners:
        listener.close()


def test_a_complete_ensemble(ensemble):
    ensemble.answer(srvr("follower"), srvr("leader"), srvr("follower"))
    assert ensemble.look() == [
        MemberStatus(ensemble.members[0], "follower", "0x100000002"),
        MemberStatus(ensemble.members[1], "leader", "0x100000002", synced_followers=2),
        MemberStatus(ensemble.members[2], "follower", "0x100000002"),
    ]
    assert ensemble.wrong(1, 2, 3) == []


def test_a_member_alone(ensemble):
    ensemble.answer(srvr("standalone"))
    assert ensemble.wrong(1) == []


def test_nothing_expected_is_nothing_wrong(ensemble):
    assert ensemble.wrong() == []


def test_a_member_that_is_down_matters_to_those_who_expect_it(ensemble):
    ensemble.answer(srvr("leader"), srvr("follower"), None, synced=1)
    assert ensemble.wrong(1, 2) == []
    assert ensemble.wrong(1, 2, 3) == ["zk3 (127.0.0.3) does not answer: Connection refused"]


def test_who_lacks_a_quorum_is_told_who_else_is_away(ensemble):
    ensemble.answer(NO_QUORUM, None, None)
    assert ensemble.wrong(1) == [
        "zk1 (127.0.0.1) runs, but finds no quorum",
        "zk2 (127.0.0.2) does not answer: Connection refused",
        "zk3 (127.0.0.3) does not answer: Connection refused",
    ]


def test_a_follower_that_lags(ensemble):
    ensemble.answer(srvr("leader"), srvr("follower"), srvr("follower"), synced=1)
    assert ensemble.wrong(1, 2, 3) == ["zk1 leads 2 followers, 1 of them in sync"]


@pytest.mark.parametrize(("mode", "count"), [("follower", 0), ("leader", 2)])
def test_one_member_leads(ensemble, mode, count):
    ensemble.answer(srvr(mode), srvr(mode), None)
    assert ensemble.wrong(1, 2) == [
        f"{count} of the members lead; one that is not listed may do so"
    ]


def test_an_answer_that_is_none(ensemble):
    ensemble.answer(FORBIDDEN, "", srvr("follower"))
    assert [status.problem for status in ensemble.look()] == [
        'answers "srvr is not executed because it is not in the whitelist."',
        "hangs up without an answer",
        None,
    ]


def test_members_that_hang_are_told(ensemble):
    ensemble.answer("hang", "hang", "hang")
    problems = [status.problem for status in ensemble.look(timeout_s=0.2)]
    assert problems == ["does not answer: timed out"] * 3


def test_all_are_asked_at_the_same_time(ensemble, monkeypatch):
    """None answers before all have been asked: who asks one after another waits in vain."""
    monkeypatch.setattr(Listener, "together", threading.Barrier(3))
    ensemble.answer(srvr("follower"), srvr("follower"), srvr("follower"))
    assert [status.mode for status in ensemble.look()] == ["follower"] * 3


def test_waiting_ends_when_all_serve(ensemble):
    ensemble.answer(srvr("leader"), [NO_QUORUM, NO_QUORUM, srvr("follower")], synced=1)
    statuses, wrong = wait(ensemble.members, ensemble.port, 60, expected=[1, 2], wait_s=60)
    assert (statuses[1].mode, wrong) == ("follower", [])


def test_waiting_ends_at_its_limit(ensemble):
    ensemble.answer(srvr("leader"), NO_QUORUM, synced=0)
    begin = time.monotonic()
    _, wrong = wait(ensemble.members, ensemble.port, 60, expected=[1, 2], wait_s=1)
    assert wrong[0] == "zk2 (127.0.0.2) runs, but finds no quorum"
    assert time.monotonic() - begin >= 1


@pytest.fixture
def run(ensemble, capsys):
    def run(**parameters):
        members = [vars(member) for member in ensemble.members]
        parameters = {"members": members, "port": ensemble.port, "timeout": 60, **parameters}
        with patch_module_args(parameters), pytest.raises(SystemExit):
            load("zookeeper_status").main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_module_reports(ensemble, run):
    ensemble.answer(srvr("leader"), srvr("follower"), None, synced=1)
    result = run()
    assert result["changed"] is False
    assert [member["mode"] for member in result["members"]] == ["leader", "follower", None]
    assert result["members"][0] == {
        **{"id": 1, "name": "zk1", "address": "127.0.0.1"},
        **{"mode": "leader", "zxid": "0x100000002", "synced_followers": 1, "problem": None},
    }


def test_the_module_fails_in_one_line(ensemble, run):
    ensemble.answer(srvr("leader"), srvr("follower"), None, synced=1)
    result = run(expect=[1, 3])
    assert result["failed"] is True
    assert result["msg"] == (
        "zk3 (127.0.0.3) does not answer: Connection refused (waited 0 s): repair this first"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"members": []}, "members: is empty; list the whole ensemble"),
        ({"expect": [1, 7]}, "expect: 7 is not the id of a member; the ids are 1, 2, 3"),
        (
            {"members": [{"id": 1, "name": n, "address": "127.0.0.1"} for n in ("a", "b")]},
            "members: the id 1 stands twice",
        ),
        ({"port": 70_000}, "port: expected a whole number from 1 to 65535, got 70000"),
        ({"timeout": 0}, "timeout: expected a whole number from 1 to 600, got 0"),
        ({"wait": -1}, "wait: expected a whole number from 0 to 86400, got -1"),
    ],
)
def test_arguments_that_make_no_sense_are_told_in_one_line(run, parameters, message):
    result = run(**parameters)
    assert result["failed"] is True
    assert result["msg"] == message


class Dripping:
    """Sends a byte now and then, for as long as somebody listens."""

    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.create_server((address, port))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            try:
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.01)
            except OSError:
                return

    def close(self) -> None:
        self.socket.close()
        self.thread.join()


def test_an_answer_that_never_ends_is_bounded(ensemble):
    ensemble.listeners.append(Dripping("127.0.0.1", ensemble.port))
    (found, *_) = look(ensemble.members[:1], ensemble.port, 0.5)
    assert found.problem == "does not answer: timed out"
