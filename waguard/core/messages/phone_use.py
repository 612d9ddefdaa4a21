"""When the account's phone is in use: the application pauses its campaigns meanwhile. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from waguard.core.messages.message_ids import parse

EVENT: Final = "mobile_activity_detected"
RECENT: Final = (
    60.0  # s after which what was written is no use of the phone any more; the old service's
)
# by the stem of a message's id, as whatsapp-web.js and Baileys read it
_DEVICES: Final[Mapping[str, re.Pattern[str]]] = {
    "ios": re.compile(r"3A.{18}", re.DOTALL),
    "web": re.compile(r"3E.{18,20}", re.DOTALL),
    "desktop": re.compile(r"3F.*|.{18}", re.DOTALL),
    "android": re.compile(r".{21}|.{32}", re.DOTALL),
}
_NO_PHONES: Final = frozenset({"web", "desktop"})


def phone_of(message_id: str) -> str | None:
    """The kind of phone that wrote it: ios, android or unknown; None: it was another device, or somebody else."""
    key = parse(message_id)
    if key is None or not key.from_me:
        return None
    kinds = (kind for kind, stem in _DEVICES.items() if stem.fullmatch(key.stem))
    kind = next(kinds, "unknown")
    return None if kind in _NO_PHONES else kind


def activity(message_id: str, written_at: float, now: float) -> Mapping[str, Any] | None:
    """The data of ``mobile_activity_detected``, for a message that was written on the phone just now; None: it
    was not. Unix times."""
    phone = phone_of(message_id)
    if phone is None or now - written_at > RECENT:
        return None
    return {"message_id": message_id, "device_type": phone, "timestamp": int(written_at)}
