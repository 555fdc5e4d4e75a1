"""The children of one service's znode: its registrations, and why the other znodes are none.

Every field of a znode is judged, the unused ones too, because a field that we do not understand
may mean "no traffic". One bad znode harms only itself. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from . import serverset
from .grammar import Refused, printable
from .instance import NOTHING, Endpoint, Instance, Vector
from .znode import parse

_SEQUENCE: Final = re.compile(r"_([0-9]{10})\Z")


@dataclass(frozen=True)
class Registration:
    """One valid instance, read from one znode. `address` is a canonical IP address.

    `weight` is a share of its service's traffic, 0 or 0.000001 to 1,000,000; None where none is
    registered. `created` grows from one registration to the next, for services whose znodes are
    `Dated`; 0 for others.
    """

    child: str
    address: str
    port: int
    weight: float | None = None
    backup: bool = False
    max_connections: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0


@dataclass(frozen=True)
class Refusal:
    """One znode that gets no traffic, and why. Both are printable and bounded."""

    child: str
    reason: str


@dataclass(frozen=True)
class Rules:
    """What the catalogue says about a service's registrations.

    `instance_port` is the port of instances that are registered without one; `endpoint` names
    the additional endpoint of a ServerSet's members that is used instead of their main one.
    """

    instance_port: int | None
    endpoint: str | None


@dataclass(frozen=True)
class Reading:
    """What was read of one service. `failure` says why its registrations are not known.

    Whoever is in `out_of_service` says itself that it takes no traffic, and is no fault.
    """

    registrations: tuple[Registration, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    out_of_service: tuple[Refusal, ...] = ()
    failure: str | None = None


class Dated(NamedTuple):
    """A znode's data with the number of the transaction that made the znode (its czxid).

    ZooKeeper gives out that number: unlike names and contents, nobody who registers can choose it.
    """

    data: bytes
    czxid: int


class Judged(NamedTuple):
    """One znode's data, or why it was not read, and what it says by itself."""

    data: bytes | Dated | str
    said: Instance | Vector | Refusal

    @property
    def created(self) -> int:
        """The transaction that made the znode; 0 where that does not matter."""
        return self.data.czxid if isinstance(self.data, Dated) else 0


Children = Mapping[str, bytes | Dated | str]


def judge(
    children: Children, former: Mapping[str, Judged] = MappingProxyType({})
) -> Iterator[tuple[str, Judged]]:
    """Each child with what it says; parsed is what is not in `former` already.

    A str in place of data says why the znode was not read.
    """
    for child, data in children.items():
        known = former.get(child)
        if known is not None and known.data == data:
            yield child, known
            continue
        said: Instance | Vector | Refusal
        if isinstance(data, str):
            said = Refusal(printable(child), data)
        else:
            try:
                said = parse(child, data.data if isinstance(data, Dated) else data)
            except Refused as refused:
                said = Refusal(printable(child), str(refused))
        yield child, Judged(data, said)


def hosts(judged: Mapping[str, Judged], rules: Rules) -> frozenset[str]:
    """The names whose addresses `read` will ask for, in lower case."""
    found = set()
    for _, said in judged.values():
        if isinstance(said, Instance):
            with suppress(Refused):
                endpoint = _endpoint(said, rules.endpoint)
                if endpoint.address is None:
                    found.add(endpoint.host)
    return frozenset(found)


def read(
    judged: Mapping[str, Judged], rules: Rules, addresses: Mapping[str, str] = NOTHING
) -> Reading:
    """The registrations of one service, without duplicates, in a fixed order.

    `addresses` holds the addresses of `hosts(judged, rules)`, as far as they are known. Of
    instances with the same address and port the newest counts: the last one that was made where
    that is known, then the highest sequence number, then the latest time of registration, then the
    name that sorts last. An instance that registers
    again while its former session lingers so has its new weight and status at once, and nothing
    changes when the old znode goes.
    """
    registrations = []
    refusals = []
    resting = []
    vectors = []
    found: dict[tuple[str, int], list[_Found]] = {}
    for child, one in judged.items():
        said = one.said
        if isinstance(said, Refusal):
            refusals.append(said)
            continue
        if isinstance(said, Vector):
            vectors.append((_sequence(child), child, said.weights))
            continue
        try:
            endpoint = _endpoint(said, rules.endpoint)
            place = _place(endpoint, rules.instance_port, addresses)
            found.setdefault(place, []).append(_Found(child, said, endpoint, one.created))
        except Refused as refused:
            if said.out_of_service is None:
                refusals.append(Refusal(printable(child), str(refused)))
            else:
                resting.append(Refusal(printable(child), said.out_of_service))
    weights: dict[str, float] = {}
    for *_, newer in sorted(vectors):
        weights.update(newer)
    for (address, port), same in sorted(found.items()):
        if len(same) > 1:
            same.sort(key=_age)
        child, instance, endpoint, created = same.pop()
        refusals += [
            Refusal(printable(older.child), f"the same address and port as {printable(child)}")
            for older in same
        ]
        if instance.out_of_service is not None:
            resting.append(Refusal(printable(child), instance.out_of_service))
            continue
        weight: float | None = instance.weight
        if weights and instance.member is not None:
            weight = serverset.weight(child, endpoint, instance.member, weights)
        registrations.append(
            Registration(
                child, address, port, weight, instance.backup, instance.max_connections,
                instance.labels, created,
            )
        )  # fmt: skip
    return Reading(tuple(registrations), _in_order(refusals), _in_order(resting))


class _Found(NamedTuple):
    child: str
    instance: Instance
    endpoint: Endpoint
    created: int


def _endpoint(instance: Instance, name: str | None) -> Endpoint:
    if name is None or instance.member is None:
        return instance.endpoint
    try:
        return instance.member.endpoints[name]
    except KeyError:
        raise Refused(f"has no additional endpoint {printable(name)}") from None


def _place(
    endpoint: Endpoint, instance_port: int | None, addresses: Mapping[str, str]
) -> tuple[str, int]:
    address = endpoint.address or addresses.get(endpoint.host)
    if address is None:
        raise Refused(f"the name {printable(endpoint.host)} cannot be resolved")
    port = endpoint.port or instance_port
    if port is None:
        raise Refused("has no port, and the service has no instance_port")
    return address, port


def _age(found: _Found) -> tuple[int, int, int, str]:
    sequence = _sequence(found.child)
    return found.created, sequence, found.instance.registered, found.child


def _sequence(child: str) -> int:
    match = _SEQUENCE.search(child)
    return int(match[1]) if match else -1


def _in_order(refusals: list[Refusal]) -> tuple[Refusal, ...]:
    return tuple(sorted(refusals, key=lambda refusal: (refusal.child, refusal.reason)))
