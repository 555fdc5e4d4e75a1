"""Filters of role celery."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from plugin_utils import celery


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "celery_problems": celery.problems,
            "celery_plan": celery.plan,
            "celery_texts": celery.texts,
        }
