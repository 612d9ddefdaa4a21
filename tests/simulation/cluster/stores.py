"""The engine and the database of a cluster, each behind a network that loses and delays calls and answers."""

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from tests.simulation.clock import VirtualTime
from waguard.core.cluster.records import Found, HostRecord, Owner
from waguard.core.replace import replace

DEADLINE: Final = 1.5  # s after which a call has no answer
LATE: Final = (0.01, 0.05, 0.3, 1.5, 6.0)
_Answer = TypeVar("_Answer")


class Network:
    """Calls of one store."""

    def __init__(self, time: VirtualTime, chance: random.Random, *, faults: bool) -> None:
        self._time, self._chance, self.faults = time, chance, faults
        self.away = False

    def call(
        self,
        do: Callable[[], _Answer],
        answer: Callable[[_Answer], None],
        no_answer: Callable[[], None],
        *,
        reachable: bool,
    ) -> None:
        """Make a call. It may be lost, or take place after who made it has given up."""
        chance, pending = self._chance, [True]
        bad = self.faults
        late = chance.choice(LATE) if bad and chance.random() < 0.25 else 0.02

        def close() -> bool:
            return pending.pop() if pending else False

        def land() -> None:
            if self.away:
                return
            result = do()
            if not bad or chance.random() > 0.06:
                self._time.after(0.02, lambda: answer(result) if close() else None)

        if reachable and not self.away and not (bad and chance.random() < 0.04):
            self._time.after(late, land)
        self._time.after(DEADLINE, lambda: no_answer() if close() else None)


class Leases:
    """The leases of all hosts, with compare-and-set."""

    def __init__(self) -> None:
        self._found: dict[str, Found] = {}
        self._revision = 0
        self.on_change: Callable[[], None] = lambda: None

    def read(self, host: str) -> Found | None:
        """As ``HostLeases.read``."""
        return self._found.get(host)

    def hosts(self) -> tuple[Found, ...]:
        """As ``HostLeases.hosts``."""
        return tuple(self._found.values())

    def put(self, record: HostRecord, revision: int) -> int | None:
        """As ``HostLeases.put``."""
        found = self._found.get(record.host)
        if (found.revision if found else 0) != revision:
            return None
        self._revision += 1
        self._found[record.host] = Found(record, self._revision)
        self.on_change()
        return self._revision

    def lives(self, host: str | None, incarnation: str | None) -> bool:
        """Whether this incarnation is alive by its record."""
        found = self._found.get(host) if host else None
        return found is not None and found.record.alive and found.record.incarnation == incarnation


class Rows:
    """The owners of all sessions."""

    def __init__(self, time: VirtualTime, sessions: Sequence[str]) -> None:
        self._time = time
        self._rows = {
            it: Owner(session=it, host=None, incarnation=None, epoch=0) for it in sessions
        }
        self.claims = self.takeovers = 0

    def __getitem__(self, session: str) -> Owner:
        return self._rows[session]

    def owners(self) -> tuple[Owner, ...]:
        """As ``Owners.owners``."""
        return tuple(self._rows.values())

    def claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        """As ``Owners.claim``."""
        row = self._rows[seen.session]
        if row.epoch != seen.epoch:
            return None
        self.claims += 1
        self.takeovers += row.host != host
        self._rows[seen.session] = Owner(
            session=seen.session,
            host=host,
            incarnation=incarnation,
            epoch=row.epoch + 1,
            moved_at=self._time.t,
        )
        return row.epoch + 1

    def release(self, session: str, epoch: int, to_host: str | None) -> bool:
        """As ``Owners.release``."""
        row = self._rows[session]
        if row.epoch != epoch or row.host is None:
            return False
        self._rows[session] = replace(
            row, host=None, incarnation=None, to_host=to_host, moved_at=self._time.t
        )
        return True
