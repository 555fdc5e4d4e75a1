"""A registration of nerve (SmartStack), which our own registrar writes as well. Pure."""

from __future__ import annotations

import re
from typing import Final

from ..catalogue import MAX_CONNECTIONS
from . import grammar
from .grammar import MAX_WEIGHT, Document, Refused
from .instance import Endpoint, Instance

_FIELDS: Final = frozenset({"host", "port", "name", "weight", "haproxy_server_options", "labels"})
_OPTION: Final = re.compile(r"backup|(?:weight|maxconn) (?:0|[1-9][0-9]{0,9})")


def read(document: Document) -> Instance:
    """The instance; raises Refused."""
    grammar.only(document, _FIELDS, "nerve")
    if document.get("name") is not None:
        grammar.word("name", document["name"])
    options = _options(document.get("haproxy_server_options"))
    weight = options.get("weight")
    if document.get("weight") is not None:
        weight = grammar.integer("weight", document["weight"], 0, MAX_WEIGHT)
        if options.get("weight", weight) != weight:
            raise Refused("weight: differs from the weight in haproxy_server_options")
    host = grammar.host("host", document["host"])
    return Instance(
        Endpoint(*host, grammar.port("port", document.get("port"))),
        weight,
        "backup" in options,
        options.get("maxconn"),
        grammar.labels("labels", document.get("labels")),
    )


_RANGES: Final = {"backup": (0, 0), "weight": (0, MAX_WEIGHT), "maxconn": (1, MAX_CONNECTIONS)}


def _options(text: object) -> dict[str, int]:
    """The values in `haproxy_server_options`; nothing of its text goes further."""
    if text is None or text == "":
        return {}
    found = _OPTION.findall(text) if isinstance(text, str) else []
    values = {word: int(number or 0) for word, _, number in (o.partition(" ") for o in found)}
    if " ".join(found) != text or len(values) != len(found):
        raise Refused(
            "haproxy_server_options: only backup, weight N and maxconn N are understood,"
            f" got {grammar.shown(text)}"
        )
    for word, number in values.items():
        grammar.integer(f"haproxy_server_options: {word}", number, *_RANGES[word])
    return values
