"""What one znode says, before names are resolved and duplicates are settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

NOTHING: Final[Mapping[str, str]] = {}


class Endpoint(NamedTuple):
    """Where an instance listens. `address` is None where `host` is a name to be looked up.

    `port` is None where the service's own default holds.
    """

    host: str
    address: str | None
    port: int | None


class Instance(NamedTuple):
    """One instance. `out_of_service` says why it takes no traffic, in its own words.

    `registered` is the time of its registration in milliseconds, where the format has one.
    `member` holds what only a ServerSet's members have.
    """

    endpoint: Endpoint
    weight: int | None = None
    backup: bool = False
    max_connections: int | None = None
    labels: Mapping[str, str] = NOTHING
    registered: int = 0
    out_of_service: str | None = None
    member: Member | None = None


class Member(NamedTuple):
    """The further endpoints of a ServerSet's member by name, and its number in the set."""

    endpoints: Mapping[str, Endpoint]
    shard: int | None


class Vector(NamedTuple):
    """Weights for the members of a ServerSet, by selector; no instance."""

    weights: Mapping[str, float]
