"""What the server knows: a linked device with its queue, a message, and how a page proves which device it is."""

import itertools
import re
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct, field

Stanza = dict[str, Any]

ACK_FAILED, ACK_SENT, ACK_READ = -1, 1, 3

# what a device sees of a message without being able to decrypt it
_OF_A_PLACEHOLDER = frozenset({"t", "ack", "self", "from", "to", "author", "notifyName"})

_SHOWN = re.compile(r"(?<=@)\d+\b", re.ASCII)  # as wa-js finds mentions in a text


class Page(Protocol):
    """One connection of one page."""

    def send(self, stanza: Stanza) -> None: ...
    def close(self) -> None: ...


class Message(Struct):
    """A message as the server knows it, once per id, however often it was transmitted."""

    id: str
    chat: str
    from_: str
    to: str
    direction: str  # "out" of a linked device, "in" to it
    attributes: dict[str, Any]
    name: str = ""
    times_transmitted: int = 0
    ack: int = 0
    sender: "Device | None" = None
    sealed: str = ""  # the linked devices cannot decrypt it: why, as ``phone.Placeholder`` has it

    def to_json(self) -> dict[str, Any]:
        shown = (
            "body",
            "type",
            "t",
            "caption",
            "mimetype",
            "filename",
            "size",
            "filehash",
            "author",
            "quotedStanzaID",
            "quotedParticipant",
            "mentionedJidList",
            *(
                "lat",
                "lng",
                "loc",
                "clientUrl",
                "pollName",
                "pollOptions",
                "pollSelectableOptionsCount",
            ),
            *("vcardFormattedName", "vcardList", "isViewOnce", "duration", "waveform", "acts"),
        )
        return {
            "id": self.id,
            "from": self.from_,
            "to": self.to,
            "direction": self.direction,
            "times_transmitted": self.times_transmitted,
            "ack": self.ack,
        } | {name: self.attributes[name] for name in shown if name in self.attributes}

    def mentions(self, participants: Collection[str] | None) -> dict[str, list[str]]:
        """Whom it addresses, and notifies: who is mentioned under the id that the group has, and whom the
        text shows under that one. Any other mention is delivered as plain text. Read: the list without
        the text shows nothing (waha#2230), WhatsApp's own apps send both under the group's id. Assumed: that another
        id of a participant addresses nobody. ``participants``: None: not known, and the text alone decides.
        """
        mentioned = self.attributes.get("mentionedJidList") or []
        shown = set(
            _SHOWN.findall(self.attributes.get("caption") or self.attributes.get("body") or "")
        )
        known = mentioned if participants is None else participants
        found = [it for it in mentioned if it in known and it.partition("@")[0] in shown]
        return {"addressed": found} if mentioned else {}

    def to_stanza(self) -> Stanza:
        attributes = self.attributes
        if self.sealed:
            kept = {k: v for k, v in attributes.items() if k in _OF_A_PLACEHOLDER}
            why = {} if self.sealed == "e2e" else {"subtype": self.sealed}
            attributes = kept | {"type": "ciphertext"} | why
        fields = {"id": self.id, "chat": self.chat, "attributes": attributes}
        return fields | ({"name": self.name} if self.name else {})


class Device(Struct):
    """A browser that is linked to an account."""

    id: str
    phone: str
    secret: str
    public_key: bytes
    page: Page | None = None
    is_synced: bool = False
    is_linked: bool = True
    block: str = ""
    conflict: bool = False
    refused_until: float = 0.0  # time.monotonic
    revision: int = 0  # of the page that logged in last
    available: bool | None = None  # "online" to others, as its page says
    queue: dict[int, Stanza] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def link(self) -> str:
        """connected, syncing, conflict, blocked, offline or unlinked."""
        if not self.is_linked:
            return "unlinked"
        if self.block:
            return "blocked"
        if self.page is None:
            return "conflict" if self.conflict else "offline"
        return "connected" if self.is_synced else "syncing"

    def enqueue(self, stanza: Stanza) -> None:
        """Deliver now if it can be, and again until it is acknowledged."""
        number = next(self.numbers)
        self.queue[number] = stanza | {"number": number}
        if self.page is not None and self.is_synced:
            self.page.send(self.queue[number])

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.id,
            "phone": self.phone,
            "link": self.link,
            "queued": len(self.queue),
            "block": self.block,
        }


class Proof(Struct, frozen=True):
    """A page's answer to a challenge."""

    challenge: str
    signature: bytes
    public_key: bytes

    def is_by(self, public_key: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                self.signature, self.challenge.encode()
            )
        except (InvalidSignature, ValueError):
            return False
        return True
