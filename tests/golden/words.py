"""Words that are stored in rows and files, or spoken: today's code knows each that was ever used."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.golden.formats import Format
from waguard.core.link import Link
from waguard.core.messages import first_contact_pauses as first_contacts
from waguard.core.messages.first_contact_pauses import ChatHistory
from waguard.core.messages.inbox import Kind
from waguard.core.messages.send_states import State
from waguard.core.row_status import Reason, Status
from waguard.core.versions.facts import Evidence
from waguard.core.webhooks import delivery
from waguard.core.webhooks.delivery import DeadLetterState
from waguard.store.models import Provider

ENUMS: Final[dict[str, type[StrEnum]]] = {
    "link": Link,
    "chat history": ChatHistory,
    "pause": first_contacts.Cause,
    "inbox": Kind,
    "outbox": State,
    "reason": Reason,
    "status": Status,
    "evidence": Evidence,
    "dead letter": delivery.Cause,
    "state of a dead letter": DeadLetterState,
    "provider": Provider,
}


def _write(folder: Path) -> bytes:
    del folder
    known = {name: dict.fromkeys(map(str, enum), "") for name, enum in ENUMS.items()}
    known["event"] = dict.fromkeys(sorted(delivery.EVENTS), "")
    return msgspec.json.format(msgspec.json.encode(known), indent=1)


def _unknown(content: bytes, folder: Path) -> Any:
    del folder
    kept = msgspec.json.decode(content)
    events = set(kept.pop("event")) - delivery.EVENTS
    return events | {
        word for name, it in kept.items() for word in it if word not in set(ENUMS[name])
    }


FORMATS: Final = (Format(name="words.json", write=_write, read=_unknown, means=set(), grows=True),)
