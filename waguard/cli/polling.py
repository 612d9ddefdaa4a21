"""A command that waits for what a person or another host does asks again and again, also over a restart of the daemon."""

import time
from collections.abc import Callable
from typing import Any, Final

from waguard.cli.client import ApiCallError, ApiClient

AWAY: Final = 60.0  # s; a restart takes less


def polled(client: ApiClient, ask: Callable[[], Any], pause: float) -> Any:
    """The answer, as soon as there is one; ``pause``: s before it is asked for again. Raises ``ApiCallError`` where the
    daemon refuses, or stays away."""
    until = time.monotonic() + AWAY
    while True:
        try:
            return ask()
        except ApiCallError as error:
            if not error.passes or min(until - time.monotonic(), client.left) <= 0:
                raise
        time.sleep(pause)
