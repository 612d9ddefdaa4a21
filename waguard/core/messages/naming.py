"""Which ids and numbers the application gets for what the page reports under other ids. Pure.

The application knows people by their phone numbers, and a message by the id that it got first. So a stored
message may be known under any alias of its id; where it is known under none, its canonical id is used.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from waguard.core.messages.inbox import (
    EventPayload,
    InboxRecord,
    Kind,
    fitting,
    higher_acks,
    sent_key,
)
from waguard.core.messages.message_ids import is_unidentified, message_aliases, parse
from waguard.core.messages.people import NUMBER, People
from waguard.core.replace import replace

_WHO: Final = ("from", "to", "chat_id")
_MENTION: Final = re.compile(r"(?<=@)\d+\b", re.ASCII)  # as wa-js reads it


def phone_of(wid: str) -> str | None:
    """The digits of a phone number's id; None: it is not the id of a number."""
    digits = wid.partition("@")[0].partition(":")[0]
    return digits if wid.endswith(NUMBER) and digits.isdigit() else None


def keys_of(received: InboxRecord, people: People) -> dict[str, tuple[str, ...]]:
    """By each id that the record's own message may have, the canonical one first: the keys of the inbox which show that
    the application got the record under this id."""
    if received.ref is None:
        return {}
    word, raw_id = received.ref
    sent = received.kind in {Kind.ACK, Kind.SENT}
    return {
        one: (fitting(word + one), *([sent_key(one)] if sent else ()))
        for one in message_aliases(raw_id, people)
    }


def target_keys(received: InboxRecord, people: People) -> dict[str, tuple[str, ...]]:
    """By each id that the message may have which the record is about, the canonical one first: its keys, received or our
    own."""
    some = message_aliases(received.target, people) if received.target else ()
    return {one: (fitting(one), sent_key(one)) for one in some}


def chosen(
    keys: Mapping[str, tuple[str, ...]], own: Collection[str], known: Collection[str]
) -> str | None:
    """The id that the application knows: one of the outbox, one of the inbox, or the first."""
    for one in keys:
        if one in own:
            return one
    for one, some in keys.items():
        if any(key in known for key in some):
            return one
    return next(iter(keys), None)


def named(received: InboxRecord, people: People, own_id: str, target: str | None) -> InboxRecord:
    """The record as the application gets it: with ``own_id`` in its key, and ``target`` if it is about another
    message."""
    assert received.ref  # noqa: S101 - a record without an id keeps its key
    word = received.ref[0]
    unless = received.unless
    if received.kind is Kind.ACK:
        unless = higher_acks(own_id, received.events[0].data["ack_level"] - 1)
    message_id = target or own_id
    events = (
        EventPayload(event.event, _named(event.data, people, received, message_id, own_id))
        for event in received.events
    )
    return replace(received, key=fitting(word + own_id), unless=unless, events=tuple(events))


def _named(
    data: Mapping[str, Any], people: People, received: InboxRecord, message_id: str, own_id: str
) -> dict[str, Any]:
    changed = _shown(data, people, received)
    if "message_id" in data:
        changed["message_id"] = message_id
    if isinstance(message := data.get("message"), Mapping):
        changed["message"] = _shown(message, people, received) | {"id": own_id}
    return changed


def _shown(data: Mapping[str, Any], people: People, received: InboxRecord) -> dict[str, Any]:
    changed = numbered(data, people, received.sender)
    if received.mentioned and isinstance(body := data.get("body"), str):
        numbers = {lid.partition("@")[0]: people.number(lid) for lid in received.mentioned}
        digits = {lid: phone for lid, who in numbers.items() if (phone := phone_of(who))}
        changed["body"] = _MENTION.sub(lambda found: digits.get(found[0], found[0]), body)
    return changed


def numbered(data: Mapping[str, Any], people: People, sender: str | None) -> dict[str, Any]:
    """The data with numbers for LIDs, as far as they are known."""
    changed = dict(data)
    for name in _WHO:
        if isinstance(who := data.get(name), str):
            changed[name] = people.number(who)
    if "participants" in data:
        changed["participants"] = [people.number(who) for who in data["participants"]]
    if "sender_phone" in data and sender:
        changed["sender_phone"] = phone_of(people.number(sender))
    return changed


def waits_for_its_number(received: InboxRecord, people: People) -> bool:
    """Whether its person's number is unknown: the application would lose such a sender."""
    if received.ref is None or not received.events:
        return False
    key = parse(received.target or received.ref[1])
    chat = key.chat if key else received.chat or ""
    return is_unidentified(chat, people)
