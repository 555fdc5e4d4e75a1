"""What a value from the registry may be, and how one that may not be is shown. Pure.

Nothing that the registry says becomes a directive: each value has a grammar, and what does not
fit is refused with a reason of one line, ASCII and bounded.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Set
from typing import Any, Final

MAX_LABELS: Final = 64
# Weights are 0, or between these.
MIN_WEIGHT: Final = 0.000_001
MAX_WEIGHT: Final = 1_000_000
_SHOWN: Final = 120

_WORD: Final = re.compile(r"[A-Za-z0-9._:@+=,~/-]{1,255}")
_LABEL: Final = re.compile(r"[A-Za-z0-9._:@+=,~/-]{0,255}")
# RFC 1123, and `_`, which containers have in their names.
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.(?!\Z)|\Z))+"
)
# A resolver takes 10.1, 010.0.0.1 and 0x0a000001 for addresses (inet_aton), so they are no names.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
# Unicast IPv4 as it is always written: most addresses, and half the time of reading them.
_COMMON: Final = re.compile(
    r"(?:[1-9]|[1-9][0-9]|1[0-9]{2}|2[01][0-9]|22[0-3])"
    r"(?:\.(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])){3}"
)

Document = dict[str, Any]


class Refused(ValueError):
    """Why a znode is refused: one line, ASCII, bounded."""


def parse_address(text: str) -> str:
    """The canonical form of an IP address that a server can have; raises ValueError otherwise.

    IPv4 mapped into IPv6 becomes IPv4. HAProxy takes 0.0.0.0 and :: for the address that the
    client connected to, so an unspecified address would route to whatever is local.
    """
    if _COMMON.fullmatch(text) is not None:
        return text
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


def parse_host(text: str) -> tuple[str, str | None]:
    """A host in its canonical form, and its address unless it is a name; raises ValueError.

    An address is as `parse_address` has it, a name in lower case. No text can be both.
    """
    if _COMMON.fullmatch(text) is not None:
        return text, text
    if ":" in text or _NUMBER.fullmatch(text.rpartition(".")[2]) is not None:
        address = parse_address(text)
        return address, address
    if _NAME.fullmatch(text) is None:
        raise ValueError("is neither an IP address nor a host name")
    return text.lower(), None


def printable(text: str, most: int = _SHOWN) -> str:
    """Text from outside on one line, ASCII, of at most so many characters."""
    return _bounded(text.encode("unicode_escape").decode("ascii"), most)


def shown(value: object) -> str:
    """A parsed value for a message: ASCII, bounded."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    return _bounded(json.dumps(value))


def only(document: Document, fields: Set[str], writer: str) -> None:
    """Refuse other fields than those: one that we do not understand may mean "no traffic"."""
    if not document.keys() <= fields:
        other = next(key for key in document if key not in fields)
        raise Refused(f"{printable(other)}: is not a field that {writer} writes")


def host(place: str, value: object) -> tuple[str, str | None]:
    """The field as `parse_host` has it."""
    if not isinstance(value, str):
        raise Refused(f"{place}: expected an IP address or a host name, got {shown(value)}")
    try:
        return parse_host(value)
    except ValueError as error:
        raise Refused(f"{place}: {printable(value)} {error}") from None


def integer(place: str, value: object, low: int, high: int) -> int:
    """The field as a whole number; a bool is none, although it is an int to isinstance."""
    if type(value) is not int or not low <= value <= high:
        raise Refused(f"{place}: expected a whole number from {low} to {high}, got {shown(value)}")
    return value


def port(place: str, value: object) -> int:
    """The field as a port."""
    return integer(place, value, 1, 65_535)


def word(place: str, value: object) -> str:
    """The field as one word of up to 255 characters that mean nothing to HAProxy."""
    if not (isinstance(value, str) and _WORD.fullmatch(value)):
        raise Refused(f"{place}: expected one word, got {shown(value)}")
    return value


def labels(place: str, value: object) -> dict[str, str]:
    """The field as labels, of which every one must fit; null is none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise Refused(f"{place}: expected at most {MAX_LABELS} pairs, got {shown(value)}")
    for key, text in value.items():
        if not _is_label(key, text):
            raise Refused(f"{place}: expected words, got {shown(key)}: {shown(text)}")
    return value


def fitting_labels(value: object) -> dict[str, str]:
    """The labels among free-form metadata: what does not fit is no label, and no fault."""
    if not isinstance(value, dict):
        return {}
    fitting = [(key, text) for key, text in value.items() if _is_label(key, text)]
    return dict(fitting[:MAX_LABELS])


def _is_label(key: str, text: object) -> bool:
    return bool(_WORD.fullmatch(key)) and isinstance(text, str) and bool(_LABEL.fullmatch(text))


def _bounded(text: str, most: int = _SHOWN) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
