"""From the weights that instances register to those that HAProxy takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..catalogue import WEIGHT_MAX


def scale(weights: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers from 0 to 256 in the same proportions, for the servers of one service.

    Weights that are such numbers already stay as they are, so that an instance that joins changes
    no other. Else the largest becomes 256. What is not zero does not become zero.
    """
    if all(weight <= WEIGHT_MAX and weight == int(weight) for weight in weights):
        return tuple(int(weight) for weight in weights)
    largest = max(weights)
    return tuple(
        max(1, round(weight / largest * WEIGHT_MAX)) if weight else 0 for weight in weights
    )
