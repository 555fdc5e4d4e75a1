"""What this node writes into the registry for one instance. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Announcement:
    """One instance of a service on this node, as readers of the registry shall find it."""

    service: str
    node: str
    address: str
    port: int
    weight: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def child(self) -> str:
        """The znode's name: the same after every restart, so that it can be taken over."""
        return f"{self.node}_{self.port}"

    @property
    def data(self) -> bytes:
        """nerve's JSON: its keys in its order, absent ones omitted, no spaces, no newline."""
        document: dict[str, object] = {
            "host": self.address,
            "port": self.port,
            "name": self.node,
        }
        if self.weight is not None:
            document["weight"] = self.weight
        if self.labels:
            document["labels"] = dict(sorted(self.labels.items()))
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
