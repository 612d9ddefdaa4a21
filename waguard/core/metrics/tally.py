"""What is counted between two scrapes: additions in memory, which only a scrape turns into text."""

from bisect import bisect_left
from itertools import accumulate

from waguard.core.metrics.families import COUNTED, Metric


class Count:
    """A number that only grows."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float) -> None:
        """Add ``value`` to it."""
        self.value += value


class Histogram:
    """How many values lie below each of some bounds, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value; one that equals a bound lies below it."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self._counts)

    def below(self) -> list[int]:
        """The number of values up to each bound; the last one is of all values."""
        return list(accumulate(self._counts))


class Tally:
    """All that is counted since this process began. Every series is there from the beginning: the first event of a kind
    would else be no increase. For one thread: that of the event loop."""

    def __init__(self) -> None:
        self.series = {
            metric: {
                values: Histogram(metric.buckets) if metric.buckets else Count()
                for values in metric.series()
            }
            for metric in COUNTED
        }

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a count, or a value to a histogram; labels in the order of the table. A series that the table does
        not have is not counted."""
        if found := self.series[metric].get(labels):
            found.add(value)
