"""What WhatsApp's servers grant no more of: first contacts of an account.

Read (whatsmeow#1197, waha#2166, whatsapp-rust#572, 2026): chats in which nobody has answered are refused
until a date, which the server sends to each of the account's browsers at its log-in and when it changes;
sends are refused, or dropped silently. That it may refuse without an announcement: waha#2219.
Assumed: the result's word of a refusal (wa-js shows an ack of -1 and one of its six words, never 463).
"""

from typing import Any, Literal

from msgspec import Struct

from waguard.lab.standin.accounts import ACK_SENT, Device, Stanza
from waguard.lab.standin.whatsapp import WhatsApp

Way = Literal["refuse", "drop"]


class Lock(Struct, frozen=True):
    """``named``: the unix time that the server names, 0: it says so and names none, None: it says nothing."""

    way: Way
    named: float | None


class Limits:
    """The limits of all accounts, by phone number."""

    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp
        self._locks: dict[str, Lock] = {}

    def lock(self, phone: str, lock: Lock | None) -> dict[str, Any]:
        """From now on, None: no more; the account's browsers are notified."""
        before = self._locks.pop(phone, None)
        if lock is not None:
            self._locks[phone] = lock
        for device in self._whatsapp.linked(phone):
            said = lock is None and before is not None and before.named is not None
            for stanza in [{"type": "timelock", "active": False}] if said else self.stanzas(device):
                if device.page is not None:
                    device.page.send(stanza)
        return {"locked": lock is not None}

    def stanzas(self, device: Device) -> list[Stanza]:
        """What a browser hears at its log-in."""
        lock = self._locks.get(device.phone)
        if lock is None or lock.named is None:
            return []
        return [{"type": "timelock", "active": True, "ends": lock.named or None}]

    def way(self, device: Device, message_id: str) -> Way | None:
        """What becomes of a send; None: nothing special."""
        lock = self._locks.get(device.phone)
        chat = self._whatsapp.lids_of(device.phone).renamed(message_id).split("_")[1]
        if lock is None or not chat.endswith(("@c.us", "@lid")):
            return None
        known = self._whatsapp.messages.get(device.phone, {}).values()
        met = any(m.chat == chat and (m.direction == "in" or m.ack >= ACK_SENT) for m in known)
        return None if met else lock.way
