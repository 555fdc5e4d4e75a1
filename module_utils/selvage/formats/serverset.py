"""The members of a Twitter ServerSet, and the weights beside them. Pure.

Fields: twitter/commons `endpoint.thrift` and `serverset/endpoint.py`, Finagle's `ServerSetImpl`;
weights and their selectors: Finagle's `serverset2/Vector.scala`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from . import grammar
from .grammar import MAX_WEIGHT, MIN_WEIGHT, Document, Refused
from .instance import Endpoint, Instance, Member, Vector

MAX_ENDPOINTS: Final = 64
_FIELDS: Final = frozenset(
    {"status", "serviceEndpoint", "additionalEndpoints", "shard", "member_id", "metadata"}
)
_ENDPOINT_FIELDS: Final = frozenset({"host", "port", "inet", "inet6"})
_DESCRIPTOR_FIELDS: Final = frozenset({"select", "weight", "priority"})
_INT_MAX: Final = 2**31 - 1
_SELECTOR: Final = re.compile(
    r"(shard=(?:0|[1-9][0-9]{0,9})|member=[A-Za-z0-9._-]{1,255})"
    r"|inet=(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|([^:]{1,253})):([1-9][0-9]{0,4})"
)


def read(document: Document) -> Instance:
    """One member; raises Refused. Only the status ALIVE takes traffic, as with Finagle."""
    grammar.only(document, _FIELDS, "a ServerSet")
    status = grammar.word("status", document.get("status"))
    shard = document.get("shard")
    for field in ("shard", "member_id"):
        if document.get(field) is not None:
            grammar.integer(field, document[field], 0, _INT_MAX)
    more = document.get("additionalEndpoints")
    if more is None:
        more = {}
    if not isinstance(more, dict) or len(more) > MAX_ENDPOINTS:
        raise Refused(
            f"additionalEndpoints: expected at most {MAX_ENDPOINTS}, got {grammar.shown(more)}"
        )
    metadata = document.get("metadata")
    return Instance(
        _endpoint("serviceEndpoint", document["serviceEndpoint"]),
        labels=grammar.fitting_labels(metadata),
        out_of_service=None if status == "ALIVE" else f"status is {status}",
        member=Member(
            {
                grammar.word("additionalEndpoints", name): _endpoint(
                    f"additionalEndpoints.{grammar.printable(name)}", value
                )
                for name, value in more.items()
            },
            shard,
        ),
    )


def _endpoint(place: str, value: object) -> Endpoint:
    if not isinstance(value, dict):
        raise Refused(f"{place}: expected a mapping, got {grammar.shown(value)}")
    grammar.only(value, _ENDPOINT_FIELDS, "a ServerSet")
    host, address = grammar.host(f"{place}.host", value.get("host"))
    for field in ("inet", "inet6"):
        if value.get(field) is not None:
            same, known = grammar.host(f"{place}.{field}", value[field])
            if known is None:
                raise Refused(f"{place}.{field}: expected an IP address, got {grammar.shown(same)}")
            address = address or known
    return Endpoint(host, address, grammar.port(f"{place}.port", value.get("port")))


def read_vector(document: Document) -> Vector:
    """The weights of one `vector_` node, by selector; raises Refused."""
    grammar.only(document, frozenset({"vector"}), "a ServerSet")
    descriptors = document["vector"]
    if not isinstance(descriptors, list):
        raise Refused(f"vector: expected a list, got {grammar.shown(descriptors)}")
    weights: dict[str, float] = {}
    for descriptor in descriptors:
        if not isinstance(descriptor, dict):
            raise Refused(f"vector: expected mappings, got {grammar.shown(descriptor)}")
        grammar.only(descriptor, _DESCRIPTOR_FIELDS, "a ServerSet")
        # Finagle parses the priority and never looks at it.
        grammar.integer("priority", descriptor.get("priority", 1), 0, _INT_MAX)
        selector = _selector(descriptor.get("select"))
        if selector in weights:
            raise Refused(f"select: {grammar.printable(selector)} stands twice")
        weights[selector] = _weight(descriptor.get("weight", 1.0))
    return Vector(weights)


def weight(
    child: str, endpoint: Endpoint, member: Member, weights: Mapping[str, float]
) -> float | None:
    """The product of what selects the member, as Finagle has it; None where nothing does.

    What is too much or too little counts as the most or the least that a weight can be.
    """
    inet = f"inet={endpoint.host}:{endpoint.port}"
    selectors = (f"member={child}", f"shard={member.shard}", inet)
    factors = [weights[selector] for selector in selectors if selector in weights]
    if not factors or 0 in factors:
        return 0.0 if factors else None
    return min(max(math.prod(factors), MIN_WEIGHT), MAX_WEIGHT)


def _selector(value: object) -> str:
    match = _SELECTOR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Refused(
            f"select: only shard=N, member=NAME and inet=HOST:PORT are understood,"
            f" got {grammar.shown(value)}"
        )
    if match[1] is not None:
        return match[1]
    try:
        host, _ = grammar.parse_host(match[2] or match[3])
    except ValueError as error:
        raise Refused(f"select: {grammar.printable(match[0])}: {error}") from None
    return f"inet={host}:{grammar.port('select', int(match[4]))}"


def _weight(value: object) -> float:
    # A bool is an int to isinstance.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_WEIGHT:
        return float(value)
    raise Refused(f"weight: expected a number from 0 to {MAX_WEIGHT}, got {grammar.shown(value)}")
