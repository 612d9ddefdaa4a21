"""What happens beside messages: the phone edits, revokes, reacts, votes, calls."""

import secrets
import time
from typing import Any

from waguard.lab.standin.accounts import Message
from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.whatsapp import WhatsApp


class Happenings:
    """Each returns the id of what happened; `id` is a message's, or its part after the chat."""

    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp

    def edit(self, phone: str, id: str, body: str) -> str:  # noqa: A002 - the field's name
        """Whoever wrote it gives a message to the account another text."""
        message = self._find(phone, id, direction="in")
        message.attributes["caption" if "filehash" in message.attributes else "body"] = body
        return self._announce("edit", phone, message, _author(message), body=body)

    def revoke(self, phone: str, id: str) -> str:  # noqa: A002
        """Whoever wrote it deletes a message to the account for everybody."""
        message = self._find(phone, id, direction="in")
        message.attributes |= {"type": "revoked", "body": "", "caption": ""}
        return self._announce("revoke", phone, message, _author(message))

    def react(self, phone: str, id: str, text: str, sender: str) -> str:  # noqa: A002
        """Somebody reacts to a message of the chat; an empty text takes the reaction back."""
        message = self._find(phone, id)
        return self._announce("reaction", phone, message, sender or _other(message), text=text)

    def vote(self, phone: str, id: str, options: list[int], sender: str) -> str:  # noqa: A002
        """Somebody votes in a poll of the chat: the options by their local ids, none takes the vote back."""
        message = self._find(phone, id)
        return self._announce("vote", phone, message, sender or _other(message), options=options)

    def call(self, phone: str, sender: str, *, video: bool, group: bool) -> str:
        """Ring in the browsers that are there now: a call waits for nobody."""
        call_id = secrets.token_hex(16).upper()
        stanza = {"type": "call", "id": call_id, "from": sender, "video": video, "group": group}
        for device in self._whatsapp.linked(phone):
            if device.page is not None and device.is_synced:
                device.page.send(stanza | {"t": int(time.time())})
        return call_id

    def _find(self, phone: str, text: str, direction: str = "") -> Message:
        known = self._whatsapp.messages.get(phone, {}).values()
        for message in known:
            if text in (message.id, message.id.split("_")[2]) and direction in (
                "",
                message.direction,
            ):
                return message
        what = "got" if direction else "saw"
        raise Refusal(
            409,
            f"{phone} never {what} a message {text}",
            "see GET /messages for the ids",
            "id",
            text,
        )

    def _announce(self, kind: str, phone: str, message: Message, sender: str, **fields: Any) -> str:
        devices = self._whatsapp.linked(phone)
        author = sender if message.chat.endswith("@g.us") else ""
        stem = f"false_{message.chat}_{secrets.token_hex(10).upper()}"
        own = f"{stem}_{author}" if author else stem
        about = {"type": kind, "id": own, "message": message.id, "chat": message.chat}
        who = {"sender": sender, "author": author, "t": int(time.time())}
        for device in devices:
            device.enqueue(about | who | fields)
        return own


def _author(message: Message) -> str:
    return str(message.attributes.get("author", message.from_))


def _other(message: Message) -> str:
    return message.chat if message.direction == "out" else _author(message)
