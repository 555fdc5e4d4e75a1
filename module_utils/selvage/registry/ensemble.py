"""What a ZooKeeper ensemble says of itself, asked with four-letter words.

Source of words and fields: ZooKeeper Administrator's Guide, "The Four Letter Words". `srvr` gives
a member's mode and newest transaction; the leader's `mntr` how many followers are in sync.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ..fields import Fields, Invalid, unique
from ..formats.grammar import shown
from ..system.tcp import connect

_POLL_S: Final = 0.5
# `mntr` answers with some 5 kB.
_ANSWER_BYTES: Final = 1_048_576


@dataclass(frozen=True)
class Member:
    """One server of the ensemble: its id (`myid`), a name for people, a name or address to ask."""

    id: int
    name: str
    address: str


@dataclass(frozen=True)
class MemberStatus:
    """One member as it answered, or did not.

    `mode` is leader, follower, observer or standalone; None means that the member does not serve,
    and `problem` says why in a few words. `zxid` is the newest transaction, such as `0x100000002`.
    `synced_followers` comes from the leader alone.
    """

    member: Member
    mode: str | None = None
    zxid: str | None = None
    synced_followers: int | None = None
    problem: str | None = None


def look(members: Sequence[Member], port: int, timeout_s: float) -> list[MemberStatus]:
    """Ask all members at once, in the order given; each word has `timeout_s` for its answer."""
    with ThreadPoolExecutor(max_workers=len(members)) as pool:
        return list(pool.map(lambda member: _status(member, port, timeout_s), members))


def wait(
    members: Sequence[Member], port: int, timeout_s: int, expected: Collection[int], wait_s: int
) -> tuple[list[MemberStatus], list[str]]:
    """Look until the `expected` ids serve in sync, or `wait_s` has passed; what is wrong last.

    Raises `fields.Invalid` for arguments that make no sense, among them ids that no member has.
    """
    given = Fields({"port": port, "timeout": timeout_s, "wait": wait_s}, "")
    given.integer("port", 1, 65_535)
    given.integer("timeout", 1, 600)
    given.integer("wait", 0, 86_400)
    _check(members, expected)
    deadline = time.monotonic() + wait_s
    while True:
        statuses = look(members, port, timeout_s)
        wrong = shortcomings(statuses, expected)
        if not wrong or time.monotonic() >= deadline:
            return statuses, wrong
        time.sleep(_POLL_S)


def shortcomings(statuses: Sequence[MemberStatus], expected: Collection[int]) -> list[str]:
    """Why the `expected` ids do not all serve in sync; empty when they do.

    Members that are not expected are named too, because the quorum may lack them. In sync means
    that the leader counts every follower that answered among its synced ones.
    """
    if any(status.mode is None for status in statuses if status.member.id in expected):
        return [
            f"{status.member.name} ({status.member.address}) {status.problem}"
            for status in statuses
            if status.mode is None
        ]
    if not expected or any(status.mode == "standalone" for status in statuses):
        return []
    leaders = [status for status in statuses if status.mode == "leader"]
    if len(leaders) != 1:
        return [f"{len(leaders)} of the members lead; one that is not listed may do so"]
    followers = sum(status.mode == "follower" for status in statuses)
    synced = leaders[0].synced_followers or 0
    if synced < followers:
        return [f"{leaders[0].member.name} leads {followers} followers, {synced} of them in sync"]
    return []


def _check(members: Sequence[Member], expected: Collection[int]) -> None:
    if not members:
        raise Invalid("members: is empty; list the whole ensemble")
    ids = [member.id for member in members]
    unique(map(str, ids), "members", "id")
    for unknown in (number for number in expected if number not in ids):
        known = ", ".join(map(str, ids))
        raise Invalid(f"expect: {unknown} is not the id of a member; the ids are {known}")


def _status(member: Member, port: int, timeout_s: float) -> MemberStatus:
    try:
        answer = _ask(member.address, port, "srvr", timeout_s)
        mode = re.search(r"^Mode: (\w+)$", answer, re.MULTILINE)
        if mode is None:
            return MemberStatus(member, problem=_first_line(answer))
        zxid = re.search(r"^Zxid: (0x[0-9a-f]+)$", answer, re.MULTILINE)
        synced = None
        if mode[1] == "leader":
            answer = _ask(member.address, port, "mntr", timeout_s)
            synced = re.search(r"^zk_synced_followers\t(\d+)", answer, re.MULTILINE)
        return MemberStatus(
            member,
            mode=mode[1],
            zxid=zxid[1] if zxid else None,
            synced_followers=int(synced[1]) if synced else None,
        )
    except OSError as error:
        return MemberStatus(member, problem=f"does not answer: {error.strerror or error}")


def _first_line(answer: str) -> str:
    line = answer.strip().partition("\n")[0]
    if "not currently serving" in line:
        return "runs, but finds no quorum"
    return f"answers {shown(line)}" if line else "hangs up without an answer"


def _ask(address: str, port: int, word: str, timeout_s: float) -> str:
    deadline = time.monotonic() + timeout_s
    with connect(address, port, timeout_s) as connection:
        connection.sendall(word.encode())
        answer = b""
        while len(answer) < _ANSWER_BYTES and (piece := connection.recv(65_536)):
            answer += piece
            if (left_s := deadline - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            connection.settimeout(left_s)
    return answer.decode(errors="replace")
