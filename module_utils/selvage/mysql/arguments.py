"""The arguments that the modules for MySQL share."""

from __future__ import annotations

from typing import Any, Final

# A member from which another one replicates, as `session.known` takes it.
SOURCE: Final[dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 3306},
    "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
    "ca": {"type": "path", "required": True},
}
SOCKET: Final[dict[str, Any]] = {"type": "path", "default": "/run/mysqld/mysqld.sock"}
