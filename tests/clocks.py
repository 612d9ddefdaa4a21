"""A machine's clocks, by hand."""


class Clock:
    """Fills ``ports.clock.Clock``: ``at`` is the wall's, ``up`` the monotonic one's."""

    def __init__(self) -> None:
        self.at, self.up = 1_790_000_000.0, 100.0

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.up

    def live(self, seconds: float) -> None:
        """So long passes, and both show it."""
        self.at += seconds
        self.up += seconds
