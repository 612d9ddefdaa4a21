"""Under which ids what comes is known already: looked up in the transaction that stores it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field
from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import naming
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People
from waguard.store.models import INBOX, OUTBOX
from waguard.store.types import storable

AT_ONCE: Final = 1_000  # keys
Keys = dict[str, tuple[str, ...]]


class _Wanted(Struct):
    """What may be known under several ids, by session."""

    keys: dict[str, set[str]] = field(default_factory=dict)
    ids: dict[str, set[str]] = field(default_factory=dict)

    def add(self, session_id: str, keys: Keys, *, anyway: bool = False) -> None:
        if len(keys) > 1 or anyway:
            self.ids.setdefault(session_id, set()).update(keys)
            wanted = self.keys.setdefault(session_id, set())
            wanted.update(key for some in keys.values() for key in some)


async def named(
    connection: AsyncConnection, received: Sequence[InboxRecord], people: Mapping[str, People]
) -> tuple[list[InboxRecord], set[str]]:
    """The records as the application is to hear of them; and the keys of those that it would lose,
    as nobody knows the number of their LID."""
    wanted = _Wanted()
    named_by: list[tuple[Keys, Keys]] = []
    for one in received:
        known = people[one.session_id]
        keys, targets = naming.keys_of(one, known), naming.target_keys(one, known)
        named_by.append((keys, targets))
        wanted.add(one.session_id, keys, anyway=naming.waits_for_its_number(one, known))
        wanted.add(one.session_id, targets)
    own = {
        name: await _there(connection, OUTBOX.c.message_id, name, some)
        for name, some in wanted.ids.items()
    }
    stored = {
        name: await _there(connection, INBOX.c.key, name, some)
        for name, some in wanted.keys.items()
    }
    found: list[InboxRecord] = []
    unknown: set[str] = set()
    for one, (keys, targets) in zip(received, named_by, strict=True):
        known = people[one.session_id]
        ours, theirs = own.get(one.session_id, set()), stored.get(one.session_id, set())
        own_id = naming.chosen(keys, ours, theirs)
        target = naming.chosen(targets, ours, theirs)
        named_one = one if own_id is None else naming.named(one, known, own_id, target)
        found.append(named_one)
        # what was sent to a LID by that name is known by it
        waits = naming.waits_for_its_number(named_one, known)
        if waits and named_one.events[0].data.get("message_id") not in ours:
            unknown.add(named_one.key)
    return found, unknown


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
