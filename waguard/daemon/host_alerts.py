"""One host of a cluster sends alerts for all: what the others say is asked of them, and what was sent is kept in the database
for the next one. Whom it does not ask sends its own: twice is better than never."""

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from loguru import logger

from waguard.core.alerts.alerts import AlertState, Destination, Observed
from waguard.core.cluster import alert_duty
from waguard.core.cluster.alert_duty import Heard
from waguard.core.cluster.records import Owner
from waguard.errors import DatabaseUnavailableError
from waguard.host.memory.alert_memory import Reported, reported_of
from waguard.ports.cluster import Hosts

EVERY: Final = 5.0  # s between two questions; an alert waits a minute anyway
_READ_EVERY: Final = 12  # of those: what was sent, where another host sends
UNASKED: Final = 12  # of those: so long this host waits for the one that sends
_WITHIN: Final = 5.0  # s for an answer
_CONDITIONS: Final = "/api/cluster/conditions"


class Asking(Protocol):
    """Asks other hosts, as ``api.host_calls`` does."""

    async def answers(self, target: str, *, within: float) -> Mapping[str, Any]:
        """What each that lives answers in so many seconds, by name; None: nothing."""


class SentAlerts(Protocol):
    """What each destination has got, by its id. Each call raises ``DatabaseUnavailableError``."""

    async def read(self) -> Mapping[str, str]: ...

    async def write(self, records: Mapping[str, tuple[float, str]]) -> None: ...


class Sending(Protocol):
    """This host's own alerts, as ``messaging.alerts.alerts`` has them."""

    @property
    def can_send(self) -> bool:
        """Whether there is a destination."""

    def adopt(self, sent: Mapping[str, Destination]) -> None:
        """Go on where another host has ended."""


class HostAlerts:
    """Fills ``messaging.alerts.alerts.SeveralHosts``; ``tick`` each ``EVERY``. ``rows`` are the owners of sessions, None:
    unknown; ``held``: whether this host has its lease; ``read``: whether the list of hosts was read."""

    def __init__(
        self,
        hosts: Hosts,
        calls: Asking,
        table: SentAlerts,
        alerts: Sending,
        *,
        rows: Callable[[], Mapping[str, Owner] | None],
        held: Callable[[], bool],
        read: Callable[[], bool],
    ) -> None:
        self._hosts = hosts
        self._calls = calls
        self._table = table
        self._alerts = alerts
        self._rows = rows
        self._held = held
        self._is_read = read
        self._heard: dict[str, Heard] = {}
        self._goes_on = False
        """Whether this host knows what was sent and what the others say."""
        self._unasked = 0
        """Ticks since the host that sends has asked this one, or since the start."""
        self._sends_own = False
        """Whether this host sends what itself says, and nothing of the others."""
        self._has_ends = False
        """Whether the end of something that was sent has still to be sent."""
        self._sent_for_all = False
        """Whether it was for all when it sent last. The table has nothing else: it is of the host that sends for all."""
        self._written: dict[str, float] = {}
        """How late (unix time) the record of a destination in the table is, at least."""
        self._unwritten: Mapping[str, Destination] = {}
        self._ticks = 0

    def observed(self, own: Observed, state: AlertState, at: float) -> Observed | None:
        """See ``messaging.alerts.alerts.SeveralHosts``."""
        self._collect(state)
        some = (alert for it in state.destinations.values() for alert in it.reported.values())
        self._has_ends = any(alert.ended is not None for alert in some)
        host, records = self._seen()
        others: Mapping[str, Heard] = {}
        if self._goes_on and self._sends():
            living = {it.host for it in records if it.alive}
            others = {name: it for name, it in self._heard.items() if name in living}
        elif not self._sends_own:
            return None
        if not self._is_read():
            records = [it for it in records if it.host != host]
        return alert_duty.observed(host, own, records, others, self._rows(), state, at)

    def asked(self, by: str) -> None:
        """The host ``by`` has asked for what this one says."""
        if by == alert_duty.sender(*self._seen()):
            self._unasked = 0

    async def sent(self, state: AlertState) -> None:
        """See ``messaging.alerts.alerts.SeveralHosts``."""
        self._collect(state)
        await self._write()

    async def tick(self) -> None:
        """Hear the others where this host sends; else know what was sent. Without a destination it asks nobody: the others
        have to notice that it does not send."""
        self._ticks += 1
        self._unasked += 1
        if not self._alerts.can_send:
            self._goes_on = self._sends_own = False
            return
        is_first = alert_duty.sender(*self._seen()) == self._hosts.view().host
        if is_first:
            await self._hear()
        if is_first and self._sends():
            await self._send_for_all()
        else:
            self._goes_on = False
            await self._leave_it_to_another()

    async def _send_for_all(self) -> None:
        self._sends_own, self._unasked = False, 0
        if not self._goes_on:
            await self._read()  # where the database is away, what this host knows has to do
            self._goes_on = self._sent_for_all = True
            logger.info("this host sends alerts for all", event="alerts_for_all")
        await self._write()

    async def _leave_it_to_another(self) -> None:
        if self._unasked <= UNASKED and not (self._sends_own and self._has_ends):
            self._sends_own = False
            await self._write()  # what was on its way as another host took over
            if self._ticks % _READ_EVERY == 1:
                await self._read()
        elif not self._sends_own:
            await self._read()
            self._sends_own, self._sent_for_all = True, False
            logger.warning(
                "no host that sends alerts asks this one, which sends its own",
                event="alerts_unasked",
                sender=alert_duty.sender(*self._seen()),
            )

    def _collect(self, state: AlertState) -> None:
        if self._sent_for_all:
            self._unwritten = _later(state.destinations, self._written)

    def _seen(self) -> tuple[str, list[Any]]:
        view = self._hosts.view()
        return view.host, [it.record for it in view.hosts]

    def _sends(self) -> bool:
        own, records = self._seen()
        return alert_duty.sends(own, records, self._heard.values(), held=self._held())

    async def _hear(self) -> None:
        answers = await self._calls.answers(_CONDITIONS, within=_WITHIN)
        found = {host: alert_duty.heard(it) for host, it in answers.items()}
        self._heard = {host: it for host, it in found.items() if it and it.host == host}

    async def _read(self) -> None:
        try:
            found = await self._table.read()
        except DatabaseUnavailableError:
            return
        known = {id_: _reported(record) for id_, record in found.items()}
        sent = {id_: it.destination for id_, it in known.items() if it}
        self._written = {id_: it.at for id_, it in sent.items()}
        self._alerts.adopt(sent)

    async def _write(self) -> None:
        news = self._unwritten
        if not news:
            return
        with contextlib.suppress(DatabaseUnavailableError):  # the next tick writes it
            await self._table.write({id_: (it.at, _record(it)) for id_, it in news.items()})
            self._written |= {id_: it.at for id_, it in news.items()}
            self._unwritten = _later(self._unwritten, self._written)


def _later(
    known: Mapping[str, Destination], written: Mapping[str, float]
) -> dict[str, Destination]:
    return {id_: it for id_, it in known.items() if it.at > written.get(id_, 0.0)}


def _record(it: Destination) -> str:
    # ASCII alone: a column of the database may have any character set
    return json.dumps(msgspec.to_builtins(reported_of(it)))


def _reported(record: str) -> Reported | None:
    try:
        return msgspec.json.decode(record, type=Reported)
    except (msgspec.MsgspecError, RecursionError):  # of another version
        return None
