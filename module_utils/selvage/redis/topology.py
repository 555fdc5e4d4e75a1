"""Who is primary, whether all is as it should be, and in which order to go on. Pure.

The servers know: the inventory is asked only where there is nothing yet that could know better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from .facts import Server, Watch


class UndecidedError(Exception):
    """Nobody may say who is primary; the message is one line for the operator."""


@dataclass(frozen=True)
class Member:
    """A host with a server and a Sentinel: its name for people, and its address."""

    name: str
    address: str


@dataclass(frozen=True)
class Ports:
    """Where servers and Sentinels listen: the same on every member."""

    server: int
    sentinel: int


@dataclass(frozen=True)
class Seen:
    """One member as it answered: what is None did not, and `problems` says why.

    Those of `refusals` are there and do not let us in: waiting mends nothing.
    """

    member: Member
    server: Server | None = None
    watch: Watch | None = None
    problems: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Primary:
    """The primary, and who says so."""

    address: str
    by: Literal["sentinels", "servers", "inventory"]


def quorum(members: int) -> int:
    """Sentinels that have to agree that the primary is down: a majority of them all."""
    return members // 2 + 1


def primary(seen: Sequence[Seen], new: Collection[str]) -> Primary:
    """The primary: as a majority of Sentinels has it, else as the servers do, else the first.

    `new` names the members of which the caller knows that they hold no data. The first member is
    taken only when all are new and nobody answers: of one that is silent nobody knows what it has.
    Raises `UndecidedError`.
    """
    chosen = _by_sentinels(seen) or _by_servers(seen)
    if chosen is None:
        old = [one for one in seen if one.member.name not in new]
        if old:
            why = "; ".join(f"{one.member.name} {text}" for one in old for text in one.problems)
            raise UndecidedError(
                "no Sentinel and no server says who is primary, and there may be data on"
                f" {', '.join(one.member.name for one in old)}: mend them, or run the play for all"
                f" members ({why or 'nobody answers'})"
            )
        return Primary(seen[0].member.address, "inventory")
    found = Primary(*chosen)
    if found.address not in {one.member.address for one in seen}:
        raise UndecidedError(
            f"the {found.by} follow {found.address}, which is not among the members: list it, let"
            " it hand over (SENTINEL FAILOVER), and take it off the list afterwards"
        )
    lost = [
        m.name for m in (o.member for o in seen) if m.address == found.address and m.name in new
    ]
    if lost:
        raise UndecidedError(
            f"{lost[0]} is primary for the {found.by}, and has no data any more: the replicas would"
            " empty themselves. Wait until the Sentinels have promoted another member, or tell them"
            " to (SENTINEL FAILOVER)"
        )
    return found


def _by_sentinels(seen: Sequence[Seen]) -> tuple[str, Literal["sentinels"]] | None:
    """What a majority of all members' Sentinels names; a newer epoch needs no more than that."""
    votes = Counter(one.watch.primary[0] for one in seen if one.watch is not None)
    for address, count in votes.most_common(1):
        if count >= quorum(len(seen)):
            return address, "sentinels"
    return None


def _by_servers(seen: Sequence[Seen]) -> tuple[str, Literal["servers"]] | None:
    """The one server that is a primary, or the one that every replica follows."""
    primaries = [one.member for one in seen if one.server and one.server.follows is None]
    if len(primaries) > 1:
        raise UndecidedError(
            f"{' and '.join(one.name for one in primaries)} are primaries at once, and no majority"
            " of Sentinels says which: make all but the right one a replica of it (REPLICAOF)"
        )
    if primaries:
        return primaries[0].address, "servers"
    followed = {one.server.follows[0] for one in seen if one.server and one.server.follows}
    if len(followed) > 1:
        raise UndecidedError(
            f"the servers follow {' and '.join(sorted(followed))}, and no majority of Sentinels"
            " says which is right: correct it with REPLICAOF"
        )
    return (followed.pop(), "servers") if followed else None


def shortcomings(
    seen: Sequence[Seen],
    ports: Ports,
    at: Primary,
    *,
    among: Collection[str] | None = None,
    sentinels: bool = True,
) -> list[str]:
    """What is not as it should be, a line each; empty when all replicate and all agree.

    `among` names the members that count, and the primary always does.
    """
    listed = [
        one
        for one in seen
        if among is None or one.member.name in among or one.member.address == at.address
    ]
    wrong = [
        f"{one.member.name} {text}" for one in listed for text in _server_problems(one, ports, at)
    ]
    if sentinels:
        wrong += [f"{one.member.name} {text}" for one in listed for text in _views(one, listed, at)]
    return wrong


def _server_problems(one: Seen, ports: Ports, at: Primary) -> list[str]:
    server = one.server
    if server is None:
        return [text for text in one.problems if text.startswith("redis-server")]
    if server.loading:
        return ["still loads its data"]
    if one.member.address == at.address:
        return [] if server.follows is None else [f"is to be primary, but follows {_shown(server)}"]
    if server.follows != (at.address, ports.server):
        return [f"is to follow {at.address}, but {_shown(server)}"]
    return [] if server.in_sync else ["is not in sync with its primary yet"]


def _shown(server: Server) -> str:
    return f"follows {server.follows[0]}:{server.follows[1]}" if server.follows else "is a primary"


def _views(one: Seen, seen: Sequence[Seen], at: Primary) -> list[str]:
    watch = one.watch
    if watch is None:
        return [text for text in one.problems if text.startswith("redis-sentinel")]
    if watch.primary[0] != at.address:
        return [f"has a Sentinel that takes {watch.primary[0]} for primary"]
    if trouble := sorted(watch.flags - {"master"}):
        return [f"has a Sentinel that calls the primary {', '.join(trouble)}"]
    others = {other.member.address for other in seen if other.member != one.member}
    followers = {other.member.address for other in seen} - {at.address}
    wrong = []
    if unknown := sorted(others - {host for host, _ in watch.sentinels}):
        wrong.append(f"has a Sentinel that does not know those of {', '.join(unknown)}")
    if unknown := sorted(followers - {host for host, _ in watch.replicas}):
        wrong.append(f"has a Sentinel that does not know the replicas {', '.join(unknown)}")
    return wrong


def not_heard_of(seen: Sequence[Seen], at: Primary) -> list[str]:
    """Of which members a Sentinel has not heard yet that they replicate, a line each.

    It asks replicas every ten seconds. One that was a primary at two of its questions, and a
    replica only between them, it takes for a primary all the time: right after its next promotion
    it would make that a replica again (sentinelRefreshInstanceInfo in Redis's sentinel.c).
    """
    names = {one.member.address: one.member.name for one in seen}
    return [
        f"{one.member.name} has a Sentinel that has not heard yet that {names[host]} replicates"
        for one in seen
        if one.watch is not None and one.watch.primary[0] == at.address
        for host, _ in one.watch.former
        if host in names
    ]


def strangers(seen: Sequence[Seen]) -> list[str]:
    """Addresses that a Sentinel still knows, of hosts that are members no more."""
    return sorted(known(seen) - {one.member.address for one in seen})


def known(seen: Sequence[Seen]) -> set[str]:
    """Addresses of all replicas and Sentinels that these Sentinels know."""
    return {
        host
        for one in seen
        if one.watch is not None
        for host, _ in (*one.watch.replicas, *one.watch.sentinels)
    }


def order(due: Collection[str], primary: str) -> list[str]:
    """Names of members in the order of a rolling restart: the primary last, once it is none."""
    return sorted(due, key=lambda name: name == primary)


def successor(seen: Sequence[Seen], ports: Ports, at: Primary) -> Member | None:
    """The replica that has read most of the primary's stream; None if none is in sync."""
    able = [
        one
        for one in seen
        if one.server is not None
        and one.member.address != at.address
        and one.server.in_sync
        and one.server.follows == (at.address, ports.server)
    ]
    return (
        max(able, key=lambda one: one.server.offset if one.server else 0).member if able else None
    )
