"""Filters of role edge_address."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils import edge_address


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "edge_address_networks": edge_address.known_networks,
            "edge_address_places": edge_address.places,
            "edge_address_problems": edge_address.problems,
            "edge_address_seconds": edge_address.seconds,
            "edge_address_words": edge_address.systemd_words,
        }
