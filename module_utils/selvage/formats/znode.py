"""One znode's name and bytes → what it says, whatever program wrote it. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from . import curator, grammar, nerve, serverset
from .grammar import Document, Refused
from .instance import Endpoint, Instance, Vector

MAX_BYTES: Final = 65_536
MAX_NAME: Final = 4_096

_CHILD: Final = re.compile(r"[A-Za-z0-9._:@+=,~\[\]-]+")
_ENDPOINT: Final = re.compile(
    r"(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|([0-9.]+))(?::([1-9][0-9]{0,4}))?"
)
_BASE64: Final = re.compile(r"base64_([0-9]{1,5})_([A-Za-z0-9_=-]+)_[0-9]{1,10}")

# The key that only one format has → its reader.
_FORMATS: Final[Mapping[str, Callable[[Document], Instance | Vector]]] = {
    "host": nerve.read,
    "address": curator.read,
    "serviceEndpoint": serverset.read,
    "vector": serverset.read_vector,
}


def parse(child: str, data: bytes) -> Instance | Vector:
    """What the znode says; raises Refused with the reason why it says nothing of use."""
    if len(child) > MAX_NAME:
        raise Refused(f"the name is longer than {MAX_NAME} characters")
    if _CHILD.fullmatch(child) is None:
        raise Refused("the name holds characters that no address or identifier has")
    if len(data) > MAX_BYTES:
        raise Refused(f"the data is larger than {MAX_BYTES} bytes")
    if not data:
        if not child.startswith("base64_"):
            return Instance(_bare(child))
        data = _encoded_document(child)
    document = _document(data)
    for key, reader in _FORMATS.items():
        if key in document:
            return reader(document)
    raise Refused(f"the data is of no known format: it has none of {', '.join(_FORMATS)}")


def _bare(child: str) -> Endpoint:
    match = _ENDPOINT.fullmatch(child)
    host, port = (match[1] or match[2], match[3]) if match else (child, None)
    try:
        address = grammar.parse_address(host)
    except ValueError as error:
        raise Refused(f"{grammar.printable(child)}: {error}") from None
    return Endpoint(child, address, grammar.port("port", int(port)) if port else None)


def _encoded_document(child: str) -> bytes:
    match = _BASE64.fullmatch(child)
    if match is None:
        raise Refused("the name is not base64_<length>_<base64>_<sequence>")
    if len(match[2]) != int(match[1]):
        raise Refused("the base64 in the name has another length than the name says")
    try:
        return base64.b64decode(match[2], altchars=b"-_", validate=True)
    except binascii.Error:
        raise Refused("the base64 in the name is damaged") from None


def _without_duplicates(pairs: list[tuple[str, object]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Refused("the data has a key twice")
    return document


def _no_constant(text: str) -> object:
    raise Refused(f"the data holds {text}, which is not JSON")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_constant)


def _document(data: bytes) -> Document:
    try:
        document = _JSON.decode(data.decode())
    except UnicodeDecodeError:
        raise Refused("the data is not UTF-8") from None
    except RecursionError:
        raise Refused("the data is nested too deeply") from None
    except Refused:
        raise
    except ValueError:
        raise Refused("the data is not JSON") from None
    if not isinstance(document, dict):
        raise Refused("the data is not a JSON object")
    return document
