"""A condition of a host of a cluster: it has events of sessions that other hosts own now, which nobody has stored."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from waguard.core.cluster.left_events import left_behind_words
from waguard.profile import layout
from waguard.supervision.outages import Outages


class LeftBehind:
    """Call ``tick`` now and then. ``workers``: where workers leave files of what nobody has stored; ``counts``: what is left
    in memory, by session; ``owned``: the sessions of this host, whose next workers report theirs."""

    def __init__(
        self,
        workers: Path,
        counts: Callable[[], Mapping[str, int]],
        owned: Callable[[], Collection[str]],
        outages: Outages,
    ) -> None:
        self._workers = workers
        self._counts = counts
        self._owned = owned
        self._outages = outages

    def tick(self) -> None:
        """Renew the condition."""
        owned = self._owned()
        ours = {layout.key(session) for session in owned}
        found = (path.name for path in self._workers.glob("*.unstored"))
        files = [name for name in found if name.partition(".")[0] not in ours]
        counts = {name: count for name, count in self._counts().items() if name not in owned}
        self._outages.update("events_left_behind", left_behind_words(counts, files))
