"""When something is tried again: pauses double until a longest one. Pure."""

import math
from typing import Final

NEVER: Final = math.inf
"""A moment that does not come: nothing is due."""


def backoff(base: float, failures: int, *, longest: float) -> float:
    """min(base · 2ⁿ, longest) seconds, n = max(failures, 0).

    No n raises: 2.0 ** 1024 would. Where many wait alike, the caller multiplies by its own jitter.
    """
    try:
        return min(math.ldexp(base, max(failures, 0)), longest)
    except OverflowError:
        return longest
