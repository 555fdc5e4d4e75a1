"""Filters of role redis."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils import redis

from selvage.redis import topology


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "redis_users": redis.hashed_users,
            "redis_users_file": redis.users_file,
            "redis_problems": redis.problems,
            "redis_order": topology.order,
        }
