"""What would be WhatsApp's servers: accounts, linked devices, their queues, and every message that was seen.

In memory and without I/O: pages are what takes stanzas (`Page`). A device's queue holds what the device has not
acknowledged; all of it is sent again on the device's next connection, under the same ids.
"""

import itertools
import secrets
import time
from typing import Any

from waguard.lab.standin.accounts import (
    ACK_FAILED,
    ACK_READ,
    ACK_SENT,
    Device,
    Message,
    Page,
    Proof,
    Stanza,
)
from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.lids import Lids
from waguard.lab.standin.linking import Linking
from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.versions import Versions


class WhatsApp:
    """The accounts and what happens to them. What cannot be done raises Refusal with a remedy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.versions = Versions()
        self.devices: dict[str, list[Device]] = {}  # by phone number
        self.linking = Linking(policy, self.devices)
        self.messages: dict[str, dict[str, Message]] = {}  # by phone number, then id; oldest first
        self.lids: dict[str, Lids] = {}  # by phone number
        self.groups: dict[str, dict[str, tuple[str, ...]]] = {}  # the same; participants by group
        self.group_names: dict[str, str] = {}  # of groups that an account here has made
        self.pictures: dict[str, str] = {}  # addresses, by wid
        self.admin_of: dict[str, set[str]] = {}  # by phone number; groups
        self.acts: list[tuple[str, str, str, str]] = []  # phone number, message, kind, text
        self.chatstates: list[tuple[str, str, str]] = []  # phone number, chat, what was shown there
        self.media: dict[str, bytes] = {}
        self.asked: list[str] = []  # numbers of which a page asked whether they exist
        self.lost: list[str] = []  # ids of transmissions that never arrived, by policy

    # --- a page's connection

    def log_in(self, device_id: str, secret: str, verify: Proof) -> Device | None:
        """The linked device that these credentials belong to, or None (it was unlinked, or never was)."""
        for device in self.devices.get(device_id.split(":", 1)[0], []):
            if device.id == device_id and device.is_linked and device.secret == secret:
                # A scanned code carries the key; a pairing code does not, there the first login brings it.
                device.public_key = device.public_key or verify.public_key
                return device if verify.is_by(device.public_key) else None
        return None

    def attach(self, device: Device, page: Page) -> None:
        """The newest connection of a device wins; the one before is notified."""
        if device.page is not None:
            device.page.send({"type": "conflict"})
            device.page.close()
        device.page, device.conflict = page, False

    def detach(self, page: Page) -> None:
        self.linking.forget_page(page)
        for device in itertools.chain(*self.devices.values()):
            if device.page is page:
                device.page = None

    def history(self, device: Device) -> list[Stanza]:
        if device.is_synced or not self.policy.history:
            return []
        queued = {stanza.get("id") for stanza in device.queue.values()}
        past = self.messages.get(device.phone, {}).values()
        return [m.to_stanza() for m in past if m.id not in queued and m.ack != ACK_FAILED]

    def deliver_queue(self, device: Device) -> None:
        if device.page is not None:
            for stanza in list(device.queue.values()):
                device.page.send(stanza)

    def acknowledge(self, device: Device, number: int) -> None:
        stanza = device.queue.pop(number, None)
        message = self.messages.get(device.phone, {}).get((stanza or {}).get("id", ""))
        if message and message.direction == "in" and message.sender:
            self.receipt(message.sender.phone, self._twin(message), 2)

    def read(self, device: Device, chat: str) -> None:
        for message in self.messages.get(device.phone, {}).values():
            if message.direction == "in" and message.chat == chat:
                message.ack = ACK_READ

    # --- messages

    def lids_of(self, phone: str) -> Lids:
        return self.lids.setdefault(phone, Lids())

    def migrate(self, phone: str, number: str, lid: str, *, known: bool) -> None:
        """An account's chat with somebody gets another id; its browsers hear of it in their queue."""
        before = self.lids_of(phone).move(number, lid, known=known)
        messages = self.messages.get(phone, {})
        for message in [m for m in messages.values() if m.chat == before]:
            del messages[message.id]
            message.id = self.lids_of(phone).renamed(message.id)
            message.chat = lid
            messages[message.id] = message
        for device in self.linked(phone):
            stanza = {"type": "migrated", "before": before, "lid": lid}
            device.enqueue(stanza | {"number_wid": number, "known": known})

    def gather(self, phone: str, group: str, participants: tuple[str, ...], *, admin: bool) -> None:
        """A group of the account has these participants, under these ids."""
        self.groups.setdefault(phone, {})[group] = participants
        admin_of = self.admin_of.setdefault(phone, set())
        (admin_of.add if admin else admin_of.discard)(group)
        for device in self.linked(phone):
            stanza = {"type": "group", "admin_of": sorted(admin_of)}
            device.enqueue(stanza | self.named({group: participants}))

    def named(self, groups: dict[str, tuple[str, ...]]) -> Stanza:
        """These groups, with the names of those that were made here."""
        names = {group: self.group_names[group] for group in groups if group in self.group_names}
        return {"groups": groups, "names": names}

    def reveal(self, phone: str, number: str) -> None:
        """The browsers' caches learn whose LID it is."""
        lids = self.lids_of(phone)
        lids.hidden.discard(number)
        for device in self.linked(phone):
            stanza = {"type": "lid_known", "number_wid": number, "lid": lids.current[number]}
            device.enqueue(stanza)

    def accept(self, device: Device, message_id: str, attributes: dict[str, Any]) -> Message:
        """Record a transmission; the same id is the same message."""
        messages = self.messages.setdefault(device.phone, {})
        message_id = self.lids_of(device.phone).renamed(message_id)
        message = messages.get(message_id)
        if message is None:
            chat = message_id.split("_")[1]
            kept = {k: v for k, v in attributes.items() if k not in ("ack", "from", "to", "self")}
            own = f"{device.phone}@c.us"
            message = Message(
                message_id, chat, own, chat, "out", kept | {"from": own, "to": chat}, sender=device
            )
            messages[message_id] = message
        message.times_transmitted += 1
        return message

    def is_unreadable(self, device: Device) -> bool:
        """Whether the server makes nothing of what this page sends."""
        revision = self.versions.get(device.revision)
        return revision is not None and revision.is_broken("unacked", device.phone)

    def act(self, device: Device, target: str, kind: str, text: str) -> None:
        """A device reacts to a message of its account, edits or revokes it; each is kept in "acts". The server takes
        it whatever the message is: it may have come while nothing was taken."""
        target = self.lids_of(device.phone).renamed(target)
        self.acts.append((device.phone, target, kind, text))
        if message := self.messages.get(device.phone, {}).get(target):
            message.attributes.setdefault("acts", []).append([kind, text])
            if kind == "edit":
                name = "caption" if "filehash" in message.attributes else "body"
                message.attributes[name] = text
            elif kind == "revoke":
                message.attributes |= {"type": "revoked", "body": "", "caption": ""}

    def carry(self, device: Device, message: Message) -> None:
        """Take an accepted message to the account's other devices, and to its recipient if that one lives here."""
        message.ack = max(message.ack, ACK_SENT)
        message.attributes["ack"] = message.ack
        self._carry(device.phone, message, device)

    def _carry(self, phone: str, message: Message, sender: Device | None) -> None:
        for device in self.devices.get(phone, []):
            if device is not sender and device.is_linked:
                device.enqueue({"type": "message"} | message.to_stanza())
        recipient = self.lids_of(phone).number_of(message.chat).removesuffix("@c.us")
        if recipient in self.devices and recipient != phone:
            twin = self._incoming(
                recipient, message.from_, message.from_, message.attributes, self._twin(message)
            )
            twin.sender = sender

    def written(self, phone: str, chat: str, attributes: dict[str, Any]) -> str:
        """A message that the person writes on the phone itself, which chooses its id. Returns it."""
        own, chat = f"{phone}@c.us", self.lids_of(phone).chat_of(chat)
        author = f"_{own}" if chat.endswith("@g.us") else ""
        message_id = f"true_{chat}_3A{secrets.token_hex(9).upper()}{author}"
        kept = attributes | {"from": own, "to": chat, "ack": ACK_SENT, "self": "out"}
        message = Message(message_id, chat, own, chat, "out", kept, ack=ACK_SENT)
        self.messages.setdefault(phone, {})[message_id] = message
        self._carry(phone, message, None)
        return message_id

    def _twin(self, message: Message) -> str:
        """The id of the same message at its other end."""
        stem = message.id.split("_")[2]
        if message.direction == "out":
            return f"false_{message.from_}_{stem}"
        sender = message.sender.phone if message.sender else ""
        return self.lids_of(sender).renamed(f"true_{message.to}_{stem}")

    def incoming(
        self,
        phone: str,
        sender: str,
        chat: str,
        attributes: dict[str, Any],
        name: str = "",
        *,
        sealed: str = "",
    ) -> str:
        """A message for an account; every linked device gets it, now or when it connects. Returns its id."""
        lids = self.lids_of(phone)
        chat, sender = lids.chat_of(chat), lids.chat_of(sender)
        author = f"_{sender}" if chat != sender else ""
        message_id = f"false_{chat}_{secrets.token_hex(10).upper()}{author}"
        self._incoming(phone, sender, chat, attributes, message_id, name, sealed=sealed)
        return message_id

    def decrypt(self, phone: str, message_id: str, way: str) -> None:
        """A message that the linked devices could not decrypt becomes readable for them; ``way`` as
        ``page/ciphertexts.js`` has it."""
        message = self.messages[phone][message_id]
        message.sealed = ""
        for device in self.linked(phone):
            stanza = {"type": "decrypted", "id": message.id, "attributes": message.attributes}
            device.enqueue(stanza | {"way": way})

    def _incoming(
        self,
        phone: str,
        sender: str,
        chat: str,
        attributes: dict[str, Any],
        message_id: str,
        name: str = "",
        *,
        sealed: str = "",
    ) -> Message:
        lids = self.lids_of(phone)
        chat, sender = lids.chat_of(chat), lids.chat_of(sender)
        message_id = lids.renamed(message_id)
        me = f"{phone}@c.us"
        kept = {k: v for k, v in attributes.items() if k not in ("ack", "self")}
        kept |= {"from": chat, "to": me, "ack": ACK_SENT, "self": "in"}
        if chat != sender:
            kept["author"] = sender
        message = Message(message_id, chat, sender, me, "in", kept, name, sealed=sealed)
        self.messages.setdefault(phone, {})[message_id] = message
        for device in self.devices.get(phone, []):
            if device.is_linked:
                message.times_transmitted += 1
                device.enqueue({"type": "message"} | message.to_stanza())
        return message

    def receipt(self, phone: str, message_id: str, ack: int, reader: str = "") -> None:
        """The recipient's phone got (2), read (3) or played (4) a message of this account; in a
        group each ``reader`` says so."""
        message = self.messages.get(phone, {}).get(message_id)
        if message is None or message.direction != "out" or (message.ack >= ack and not reader):
            return
        message.ack = max(message.ack, ack)
        stanza = {
            "type": "receipt",
            "chat": message.chat,
            "ids": [message.id.split("_")[2]],
            "ack": ack,
            "t": int(time.time()),
        } | ({"reader": reader} if reader else {})
        for device in self.devices.get(phone, []):
            if device.is_linked:
                device.enqueue(stanza)

    def linked(self, phone: str) -> list[Device]:
        """The linked devices of an account; refused if there are none."""
        devices = [d for d in self.devices.get(phone, []) if d.is_linked]
        if not devices:
            known = ", ".join(p for p, ds in self.devices.items() if any(d.is_linked for d in ds))
            raise Refusal(
                409,
                f"no browser is linked to {phone}",
                f"scan a code first; linked accounts: {known or 'none'}",
                "phone",
                phone,
            )
        return devices
