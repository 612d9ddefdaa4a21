"""Two hosts of a cluster, each with an API of its own: ``ports.cluster.Ownership`` and ``Hosts`` as a test says."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from waguard.api.deps import Cluster
from waguard.api.timings import Limits, Timings
from waguard.core.cluster.records import FORMAT, HostRecord
from waguard.core.cluster.shared_settings import digests_of_secrets
from waguard.core.cluster.unowned import Unowned
from waguard.core.issued_keys import IssuedKey
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, NotFoundError, WaguardError
from waguard.messaging.timings import BOUNDS
from waguard.ports.cluster import HostNumbers, HostsView, SeenHost

if TYPE_CHECKING:
    from tests.api.conftest import Api

SHARED_KEY = b"what-both-hosts-have-in-a-file"


@dataclass
class FakeKeyRows:
    """Fills ``ports.cluster.KeyRows``."""

    rows: dict[str, IssuedKey] = field(default_factory=dict)
    at: int = 0
    away: bool = False
    exchanges: int = 0

    async def revision(self) -> int:
        """See there."""
        self._require()
        return self.at

    async def keys(self) -> tuple[int, Sequence[IssuedKey]]:
        """See there."""
        self._require()
        return self.at, list(self.rows.values())

    async def exchange(
        self, decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]]
    ) -> tuple[int, Sequence[IssuedKey]]:
        """See there."""
        self._require()
        self.exchanges += 1
        for it in decide(list(self.rows.values())):
            before = self.rows.get(it.sha256)
            if before is None or before.ended_at is None:
                self.rows[it.sha256] = it
                self.at += 1
        return self.at, list(self.rows.values())

    async def use(self, used: Mapping[str, float]) -> None:
        """See there."""
        self._require()
        for sha256, at in used.items():
            self.rows[sha256] = structs.replace(self.rows[sha256], used_at=at)

    def _require(self) -> None:
        if self.away:
            raise DatabaseUnavailableError("the database is down", retry_after=5)


@dataclass
class Everything:
    """What all hosts agree on."""

    owners: dict[str, str] = field(default_factory=dict)
    """Names of the hosts by session."""
    records: dict[str, HostRecord] = field(default_factory=dict)
    without_owner: int | None = 0
    keys: "FakeKeyRows" = field(default_factory=FakeKeyRows)
    unowned: dict[str, Unowned] | None = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    """What ``HostNumbers`` of each host has otherwise than usual."""

    def add(self, host: str, address: str) -> None:
        """Another host, which lives."""
        self.records[host] = HostRecord(
            format=FORMAT,
            host=host,
            incarnation=f"i-{host}",
            number=1,
            alive=True,
            address=address,
            version="1.0",
            room=5,
            owned=1,
            drain=False,
            start=f"s-{host}",
        )

    def change(self, host: str, **changes: object) -> None:
        """Its record says something else from now on."""
        self.records[host] = replace(self.records[host], **changes)  # type: ignore[arg-type]


@dataclass
class FakeHost:
    """Fills both ports, for the host of this name."""

    name: str
    all: Everything
    asked: list[object] = field(default_factory=list)
    taken: list[tuple[str, int | None, bytes]] = field(default_factory=list)
    """What other hosts have handed to it."""
    fails: WaguardError | None = None
    """What it says to that."""
    loses_to: str | None = None
    """Who owns the session when it has taken something."""
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    """What its secret files hold, by their keys."""

    # ---- Ownership ----

    def epoch(self, session: str) -> int | None:
        """See there."""
        return 1 if self.all.owners.get(session) == self.name else None

    def owned(self) -> Mapping[str, int]:
        """See there."""
        return {it: 1 for it, host in self.all.owners.items() if host == self.name}

    def address(self, session: str) -> str | None:
        """See there."""
        found = self.all.records.get(self.all.owners.get(session, ""))
        return found.address if found and found.alive else None

    async def create(self, session: str) -> None:
        """See there."""
        self.all.owners[session] = self.name

    async def store_left(self, session: str, generation: int | None, content: bytes) -> None:
        """See ``Cluster.store_left``."""
        if self.fails:
            raise self.fails
        self.taken.append((session, generation, content))
        if self.loses_to:
            self.all.owners[session] = self.loses_to

    # ---- Hosts ----

    def view(self) -> HostsView:
        """See there."""
        hosts: Sequence[SeenHost] = [
            SeenHost(record=it, renewed_ago=0.5, lease_left=9.5 if it.alive else 0.0)
            for _, it in sorted(self.all.records.items())
        ]
        return HostsView(host=self.name, hosts=hosts, without_owner=self.all.without_owner)

    def owner(self, session: str) -> str | None:
        """See there."""
        found = self.all.records.get(self.all.owners.get(session, ""))
        return found.host if found and found.alive else None

    def unowned(self) -> Mapping[str, Unowned] | None:
        """See there."""
        return self.all.unowned

    def numbers(self) -> HostNumbers:
        """For its metrics."""
        usual: dict[str, Any] = {
            "lease_left": 9.5,
            "lease_lasts": 10.0,
            "owned": 1,
            "room": 5,
            "missing": {it: not one.alive for it, one in self.all.records.items()},
            "unowned": self.all.unowned,
            "takeovers": 0,
            "refused": 0,
            "engine_failures": 0,
            "credentials": {},
        }
        del usual["missing"][self.name]
        return HostNumbers(**usual | self.all.numbers)

    async def drain(self, *, end: bool) -> None:
        """See there."""
        self.asked.append(("drain", end))
        self.all.change(self.name, drain=not end)

    async def forget(self, host: str) -> None:
        """See there."""
        if host not in self.all.records:
            raise NotFoundError(f"there is no host {host}", field="host")
        self.asked.append(("forget", host))

    async def move(self, session: str, to_host: str) -> None:
        """See there."""
        if to_host not in self.all.records:
            raise NotFoundError(f"there is no host {to_host}", field="to")
        self.asked.append(("move", session, to_host))


def cluster_of(host: FakeHost, base: str) -> Cluster:
    """What its API needs."""
    host.all.add(host.name, base)
    return Cluster(
        ownership=host,
        hosts=host,
        numbers=host.numbers,
        address=base,
        instance_url=f"http://{host.name}",
        key=SHARED_KEY,
        digests=lambda: digests_of_secrets(
            SHARED_KEY, {it: [by] for it, by in host.secrets.items()}
        ),
        start=lambda: host.all.records[host.name].start,
        asked=lambda by: host.asked.append(("conditions", by)),
        keys=host.all.keys,
        store_left=host.store_left,
    )


def one_host(base: str) -> Cluster:
    """A cluster of one host, ``h1``."""
    return cluster_of(FakeHost("h1", Everything()), base)


@dataclass
class Pair:
    """Hosts ``h1`` and ``h2``."""

    all: Everything
    one: "Api"
    two: "Api"
    hosts: dict[str, FakeHost]


@contextlib.asynccontextmanager
async def pair(
    serving: Callable[..., contextlib.AbstractAsyncContextManager[Any]],
    folder: Path,
    timings: Timings | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Pair]:
    """Both, until the end; each knows the one session, which ``h2`` owns."""
    everything, hosts = Everything(), dict[str, FakeHost]()
    async with contextlib.AsyncExitStack() as stack:
        served = []
        for name in ("h1", "h2"):
            host = hosts[name] = FakeHost(name, everything)
            (folder / name).mkdir()
            one = serving(
                folder / name,
                timings or Timings(),
                limits or Limits(),
                BOUNDS,
                join=partial(cluster_of, host),
            )
            served.append(await stack.enter_async_context(one))
        for session in served[0].sessions.known:
            everything.owners[session] = "h2"
        yield Pair(everything, served[0], served[1], hosts)
