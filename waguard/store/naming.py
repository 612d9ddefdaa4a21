"""Under which ids what comes is known already: looked up in the transaction that stores it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import naming, sent_events
from waguard.core.messages.people import People
from waguard.ports.messages import Entry
from waguard.store.models import INBOX, OUTBOX
from waguard.store.types import storable

AT_ONCE: Final = 1_000  # keys
Keys = dict[str, tuple[str, ...]]


@dataclass(slots=True)
class _Wanted:
    """What may be known under several ids, by session."""

    keys: dict[str, set[str]] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=dict)

    def add(self, session_id: str, keys: Keys, *, anyway: bool = False) -> None:
        if len(keys) > 1 or anyway:
            self.ids.setdefault(session_id, set()).update(keys)
            wanted = self.keys.setdefault(session_id, set())
            wanted.update(key for some in keys.values() for key in some)


async def named(
    connection: AsyncConnection, entries: Sequence[Entry], people: Mapping[str, People]
) -> tuple[list[Entry], set[str]]:
    """The entries as the application is to hear of them; and the keys of those that it would lose,
    as nobody knows the number of their LID."""
    wanted = _Wanted()
    named_by: list[tuple[Keys, Keys]] = []
    for entry in entries:
        received, known = entry.received, people[entry.received.session_id]
        keys = naming.keys_of(received, naming.ids(received, known))
        targets = naming.target_keys(naming.targets(received, known))
        named_by.append((keys, targets))
        wanted.add(received.session_id, keys, anyway=_waits(entry, known))
        wanted.add(received.session_id, targets)
    own = {
        name: await _there(connection, OUTBOX.c.message_id, name, some)
        for name, some in wanted.ids.items()
    }
    stored = {
        name: await _there(connection, INBOX.c.key, name, some)
        for name, some in wanted.keys.items()
    }
    found: list[Entry] = []
    unknown: set[str] = set()
    for entry, (keys, targets) in zip(entries, named_by, strict=True):
        name, known = entry.received.session_id, people[entry.received.session_id]
        ours, theirs = own.get(name, set()), stored.get(name, set())
        target = naming.chosen(targets, ours, theirs)
        one = _named(entry, known, naming.chosen(keys, ours, theirs), target)
        found.append(one)
        # what was sent to a LID by that name is known by it
        if _waits(one, known) and one.received.events[0].data.get("message_id") not in ours:
            unknown.add(one.received.key)
    return found, unknown


def _waits(entry: Entry, people: People) -> bool:
    received = entry.received
    is_event = received.ref is not None and bool(received.events)
    return is_event and naming.waits_for_its_number(received, people)


def _named(entry: Entry, people: People, own_id: str | None, target: str | None) -> Entry:
    received = entry.received
    if own_id is None:
        return entry
    changed = naming.named(received, people, own_id, target)
    if changed == received:
        return entry
    return replace(entry, received=changed, notices=sent_events.notices(changed))


async def _there(
    connection: AsyncConnection, column: Column[Any], session_id: str, wanted: Iterable[str]
) -> set[str]:
    """Those that this session has in that column."""
    mine = column.table.c.session_id == session_id
    there: set[str] = set()
    some = {storable(one): one for one in wanted}
    for start in range(0, len(some), AT_ONCE):
        among = column.in_(list(some)[start : start + AT_ONCE])
        there |= {some[one] for one in await connection.scalars(select(column).where(mine, among))}
    return there
