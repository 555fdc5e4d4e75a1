"""What servers and Sentinels said, as values. Pure: whatever does not fit is absent or refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .resp import Answer

Address = tuple[str, int]


class OddError(ValueError):
    """An answer without what every server says; the message says what is missing."""


@dataclass(frozen=True)
class Replica:
    """A replica as its primary sees it."""

    address: Address
    online: bool


@dataclass(frozen=True)
class Server:
    """What a server says of itself.

    `follows` is the primary's address, None for a primary. `in_sync` says for a replica that its
    link is up and no first copy is under way. `offset` counts the bytes of the replication stream.
    """

    version: str
    loading: bool
    follows: Address | None
    in_sync: bool
    offset: int
    replicas: tuple[Replica, ...] = ()


@dataclass(frozen=True)
class Watch:
    """What one Sentinel thinks: who is primary, since which epoch, and whom else it knows.

    `former` are replicas that were primaries when they last told it their role.
    """

    id: str
    primary: Address
    epoch: int
    flags: frozenset[str]
    replicas: tuple[Address, ...]
    sentinels: tuple[Address, ...]
    former: tuple[Address, ...] = ()


def info(text: str) -> dict[str, str]:
    """The fields of an answer to INFO."""
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in lines if colon}


def server(text: str) -> Server:
    """A server from its answer to INFO; raises `OddError`."""
    fields = info(text)
    role = fields.get("role")
    if role == "master":
        follows, in_sync = None, True
        offset = _number(fields, "master_repl_offset")
    elif role == "slave":
        follows = _address(fields.get("master_host"), fields.get("master_port"))
        syncing = fields.get("master_sync_in_progress") != "0"
        in_sync = fields.get("master_link_status") == "up" and not syncing
        offset = _number(fields, "slave_repl_offset")
    else:
        raise OddError("INFO without a role of master or slave")
    return Server(
        version=fields.get("redis_version", ""),
        loading=fields.get("loading", "0") != "0",
        follows=follows,
        in_sync=in_sync,
        offset=offset,
        replicas=tuple(_replicas(fields)),
    )


def _replicas(fields: Mapping[str, str]) -> Iterable[Replica]:
    for name, value in fields.items():
        if re.fullmatch(r"slave[0-9]{1,6}", name):
            pairs = dict(pair.partition("=")[::2] for pair in value.split(","))
            address = _address(pairs.get("ip"), pairs.get("port"))
            yield Replica(address, pairs.get("state") == "online")


def watch(
    identity: str, primary: Answer, replicas: Sequence[Answer], sentinels: Sequence[Answer]
) -> Watch:
    """A Sentinel from its answers to MYID, MASTER, REPLICAS and SENTINELS; raises `OddError`."""
    if re.fullmatch(r"[0-9a-f]{40}", identity) is None:
        raise OddError("a Sentinel without an id")
    told = pairs(primary)
    return Watch(
        id=identity,
        primary=_address(told.get("ip"), told.get("port")),
        epoch=_number(told, "config-epoch"),
        flags=frozenset(told.get("flags", "").split(",")),
        replicas=tuple(_known(replicas)),
        sentinels=tuple(_known(sentinels)),
        former=tuple(_known(replicas, reported="master")),
    )


def _known(entries: Sequence[Answer], reported: str | None = None) -> Iterable[Address]:
    for entry in entries:
        told = pairs(entry)
        if reported in (None, told.get("role-reported")):
            yield _address(told.get("ip"), told.get("port"))


def pairs(answer: Answer) -> dict[str, str]:
    """A flat list of names and values as a mapping; raises `OddError`."""
    if not isinstance(answer, list) or len(answer) % 2:
        raise OddError("no list of names and values")
    words = [str(word) for word in answer if isinstance(word, str | int)]
    if len(words) != len(answer):
        raise OddError("a list of names and values with something else in it")
    return dict(zip(words[::2], words[1::2], strict=True))


def _address(host: str | None, port: str | None) -> Address:
    try:
        number = int(port or "")
        ipaddress.IPv4Address(host or "")
    except ValueError:
        raise OddError("an address that is none") from None
    if not 0 <= number <= 65_535:
        raise OddError("a port that is none")
    return str(host), number


def _number(fields: Mapping[str, str], name: str) -> int:
    value = fields.get(name, "")
    if re.fullmatch(r"-?[0-9]{1,19}", value) is None:
        raise OddError(f"no number for {name}")
    return int(value)
