"""One znode's name and bytes: a registration, or the reason why it is refused.

Nothing that the registry says becomes a directive: from a znode come an address, a port, a
weight, a limit of connections, `backup` and labels, each with a grammar. Every field is judged,
the unused ones too, because a field that we do not understand may mean "no traffic".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .catalogue import MAX_CONNECTIONS
from .model import WEIGHT_MAX, Refusal, Registration

MAX_BYTES: Final = 65_536
MAX_NAME: Final = 4_096
MAX_LABELS: Final = 64
_SHOWN: Final = 120

_CHILD: Final = re.compile(r"[A-Za-z0-9._:@+=,~\[\]-]+")
_WORD: Final = re.compile(r"[A-Za-z0-9._:@+=,~/-]{1,255}")
_LABEL: Final = re.compile(r"[A-Za-z0-9._:@+=,~/-]{0,255}")
_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|([0-9.]+)):([1-9][0-9]{0,4})")
_BASE64: Final = re.compile(r"base64_([0-9]{1,5})_([A-Za-z0-9_=-]+)_[0-9]{1,10}")
_SEQUENCE: Final = re.compile(r"_([0-9]{10})\Z")
_OPTION: Final = re.compile(r"backup|(?:weight|maxconn) (?:0|[1-9][0-9]{0,9})")


@dataclass(frozen=True)
class Reading:
    """What was read of one service. `failure` says why its registrations are not known."""

    registrations: tuple[Registration, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    failure: str | None = None


def read(children: Mapping[str, bytes], instance_port: int | None) -> Reading:
    """The children of one service's znode, parsed, without duplicates, in a fixed order."""
    parsed = [parse(child, data, instance_port) for child, data in sorted(children.items())]
    kept, duplicates = select(item for item in parsed if isinstance(item, Registration))
    refusals = [item for item in parsed if isinstance(item, Refusal)]
    return Reading(kept, tuple(sorted([*refusals, *duplicates], key=lambda item: item.child)))


def parse(child: str, data: bytes, instance_port: int | None) -> Registration | Refusal:
    """One znode: a bare address, or nerve's JSON as data or within the name. Never raises.

    `instance_port` is the port of instances that are registered without one.
    """
    try:
        return _parse(child, data, instance_port)
    except _Refused as refused:
        return Refusal(printable(child), str(refused))


def select(
    registrations: Iterable[Registration],
) -> tuple[tuple[Registration, ...], tuple[Refusal, ...]]:
    """One registration per address and port, and refusals for the others.

    The newest counts: the highest sequence number, then the name that sorts last. An instance
    that registers again while its former session lingers so has its new weight at once, and
    nothing changes when the old znode goes.
    """
    newest: dict[tuple[str, int], Registration] = {}
    refusals = []
    for registration in sorted(registrations, key=_age, reverse=True):
        kept = newest.setdefault((registration.address, registration.port), registration)
        if kept is not registration:
            reason = f"the same address and port as {printable(kept.child)}"
            refusals.append(Refusal(printable(registration.child), reason))
    return tuple(newest[key] for key in sorted(newest)), tuple(refusals)


def parse_address(text: str) -> str:
    """The canonical form of an IP address that a server can have; raises ValueError otherwise.

    IPv4 mapped into IPv6 becomes IPv4. HAProxy takes 0.0.0.0 and :: for the address that the
    client connected to, so an unspecified address would route to whatever is local.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("is not an IP address, and names are not resolved") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError("has a zone, which means nothing on another node")
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return str(address)
    if address.version == 6 and address.is_link_local:
        raise ValueError("is link-local and has no zone, so it cannot be reached")
    if address.is_multicast or address.is_reserved or str(address).startswith("0."):
        raise ValueError("is unspecified, multicast or reserved, so no instance has it")
    return str(address)


def printable(text: str) -> str:
    """Text from outside on one line, ASCII, bounded."""
    return _bounded(text.encode("unicode_escape").decode("ascii"))


class _Refused(ValueError):
    """The reason, one line."""


_Document = dict[str, Any]


def _parse(child: str, data: bytes, instance_port: int | None) -> Registration:
    if len(child) > MAX_NAME:
        raise _Refused(f"the name is longer than {MAX_NAME} characters")
    if _CHILD.fullmatch(child) is None:
        raise _Refused("the name holds characters that no address or identifier has")
    if len(data) > MAX_BYTES:
        raise _Refused(f"the data is larger than {MAX_BYTES} bytes")
    if data:
        return _from_document(child, data)
    if child.startswith("base64_"):
        return _from_document(child, _encoded_document(child))
    return _bare(child, instance_port)


def _bare(child: str, instance_port: int | None) -> Registration:
    endpoint = _ENDPOINT.fullmatch(child)
    if endpoint is not None:
        port = _integer("port", int(endpoint[3]), 1, 65_535)
        return Registration(child, _address(endpoint[1] or endpoint[2]), port)
    address = _address(child)
    if instance_port is None:
        raise _Refused("has no port, and the service has no instance_port")
    return Registration(child, address, instance_port)


def _encoded_document(child: str) -> bytes:
    match = _BASE64.fullmatch(child)
    if match is None:
        raise _Refused("the name is not base64_<length>_<base64>_<sequence>")
    if len(match[2]) != int(match[1]):
        raise _Refused("the base64 in the name has another length than the name says")
    try:
        return base64.b64decode(match[2], altchars=b"-_", validate=True)
    except binascii.Error:
        raise _Refused("the base64 in the name is damaged") from None


def _from_document(child: str, data: bytes) -> Registration:
    document = _document(data)
    for key, reader in _FORMATS.items():
        if key in document:
            return reader(child, document)
    raise _Refused(f"the data is of no known format: it has none of {', '.join(_FORMATS)}")


def _document(data: bytes) -> _Document:
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise _Refused("the data is not UTF-8") from None
    except RecursionError:
        raise _Refused("the data is nested too deeply") from None
    except _Refused:
        raise
    except ValueError:
        raise _Refused("the data is not JSON") from None
    if not isinstance(document, dict):
        raise _Refused("the data is not a JSON object")
    return document


def _without_duplicates(pairs: list[tuple[str, object]]) -> _Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _Refused("the data has a key twice")
    return document


def _no_constant(text: str) -> object:
    raise _Refused(f"the data holds {text}, which is not JSON")


def _nerve(child: str, document: _Document) -> Registration:
    known = ("host", "port", "name", "weight", "haproxy_server_options", "labels")
    for key in document:
        if key not in known:
            raise _Refused(f"{printable(key)}: is not a field that nerve writes")
    name = document.get("name")
    if name is not None and not (isinstance(name, str) and _WORD.fullmatch(name)):
        raise _Refused(f"name: expected one word, got {_shown(name)}")
    host = document["host"]
    if not isinstance(host, str):
        raise _Refused(f"host: expected an IP address, got {_shown(host)}")
    registration = Registration(
        child=child,
        address=_address(host),
        port=_integer("port", document.get("port"), 1, 65_535),
        labels=_labels(document.get("labels")),
    )
    registration = _with_options(registration, document.get("haproxy_server_options"))
    if document.get("weight") is None:
        return registration
    weight = _integer("weight", document["weight"], 0, WEIGHT_MAX)
    if registration.weight not in (None, weight):
        raise _Refused("weight: differs from the weight in haproxy_server_options")
    return replace(registration, weight=weight)


# The key that only one format has → its reader.
_FORMATS: Final[Mapping[str, Callable[[str, _Document], Registration]]] = {"host": _nerve}


def _with_options(registration: Registration, options: object) -> Registration:
    if options is None or options == "":
        return registration
    found = _OPTION.findall(options) if isinstance(options, str) else []
    values = {word: number for word, _, number in (option.partition(" ") for option in found)}
    if " ".join(found) != options or len(values) != len(found):
        raise _Refused(
            "haproxy_server_options: only backup, weight N and maxconn N are understood,"
            f" got {_shown(options)}"
        )

    def value(word: str, low: int, high: int) -> int | None:
        place = f"haproxy_server_options: {word}"
        return _integer(place, int(values[word]), low, high) if word in values else None

    return replace(
        registration,
        weight=value("weight", 0, WEIGHT_MAX),
        backup="backup" in values,
        max_connections=value("maxconn", 1, MAX_CONNECTIONS),
    )


def _labels(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise _Refused(f"labels: expected at most {MAX_LABELS} pairs, got {_shown(value)}")
    for key, text in value.items():
        if not _WORD.fullmatch(key) or not (isinstance(text, str) and _LABEL.fullmatch(text)):
            raise _Refused(f"labels: expected words, got {_shown(key)}: {_shown(text)}")
    return value


def _address(text: str) -> str:
    try:
        return parse_address(text)
    except ValueError as error:
        raise _Refused(f"{printable(text)}: {error}") from None


def _integer(name: str, value: object, low: int, high: int) -> int:
    # A bool is an int to isinstance.
    if type(value) is not int or not low <= value <= high:
        raise _Refused(f"{name}: expected a whole number from {low} to {high}, got {_shown(value)}")
    return value


def _age(registration: Registration) -> tuple[int, str]:
    sequence = _SEQUENCE.search(registration.child)
    return (int(sequence[1]) if sequence else -1, registration.child)


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    return _bounded(json.dumps(value))


def _bounded(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
