"""A registration of Apache Curator's ServiceDiscovery, and of Spring Cloud on top of it. Pure.

Fields: Curator's `ServiceInstance` and `JsonInstanceSerializer`; status: Spring Cloud Zookeeper's
`StatusConstants` and `ZookeeperServiceInstanceListSupplier`.
"""

from __future__ import annotations

from typing import Final

from . import grammar
from .grammar import Document, Refused
from .instance import Endpoint, Instance

_FIELDS: Final = frozenset(
    {
        "name", "id", "address", "port", "sslPort", "payload", "registrationTimeUTC",
        "serviceType", "uriSpec", "enabled",
    }
)  # fmt: skip
_TYPES: Final = frozenset({None, "DYNAMIC", "STATIC", "PERMANENT", "DYNAMIC_SEQUENTIAL"})
_LATEST_MS: Final = 2**63 - 1


def read(document: Document) -> Instance:
    """The instance; raises Refused. `port` counts, for a sidecar speaks no TLS to `sslPort`."""
    grammar.only(document, _FIELDS, "Curator")
    for field in ("name", "id"):
        if document.get(field) is not None:
            grammar.word(field, document[field])
    kind = document.get("serviceType")
    if not isinstance(kind, str | None) or kind not in _TYPES:
        raise Refused(f"serviceType: is none of Curator's, got {grammar.shown(kind)}")
    if not isinstance(document.get("uriSpec"), dict | None):
        raise Refused(f"uriSpec: expected a mapping, got {grammar.shown(document['uriSpec'])}")
    payload = document.get("payload")
    metadata = payload.get("metadata") if isinstance(payload, dict) else None
    return Instance(
        Endpoint(*grammar.host("address", document["address"]), _port(document)),
        labels=grammar.fitting_labels(metadata),
        registered=grammar.integer(
            "registrationTimeUTC", document.get("registrationTimeUTC", 0), 0, _LATEST_MS
        ),
        out_of_service=_out_of_service(document.get("enabled", True), metadata),
    )


def _port(document: Document) -> int:
    tls = document.get("sslPort")
    if tls is not None:
        grammar.port("sslPort", tls)
        if document.get("port") is None:
            raise Refused("port: is null, and sslPort is set: the instance takes TLS only")
    return grammar.port("port", document.get("port"))


def _out_of_service(enabled: object, metadata: object) -> str | None:
    """Spring sends traffic where the status is absent, blank or UP in any case; nowhere else."""
    if type(enabled) is not bool:
        raise Refused(f"enabled: expected true or false, got {grammar.shown(enabled)}")
    status = metadata.get("instance_status") if isinstance(metadata, dict) else None
    if not isinstance(status, str | None):
        raise Refused(f"instance_status: expected a word, got {grammar.shown(status)}")
    if not enabled:
        return "enabled is false"
    if status is None or not status.strip() or status.upper() == "UP":
        return None
    return f"instance_status is {grammar.shown(status)}"
