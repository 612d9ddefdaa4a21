"""One connection of one page: what the page says to the server and what it hears, as JSON stanzas over a WebSocket.

A page without credentials registers and is shown codes until one is scanned. A page with credentials logs in, gets
what waited for it, and then sends and receives. Every stanza of a kind has one method `on_<kind>`.
"""

import asyncio
import base64
import contextlib
import secrets
import time
from typing import Any

from aiohttp import WSMsgType, web

from waguard.lab.standin import group_answers
from waguard.lab.standin.accounts import ACK_FAILED, ACK_SENT, Device, Proof, Stanza
from waguard.lab.standin.limits import Limits
from waguard.lab.standin.whatsapp import WhatsApp

MAX_STANZA = 1 << 24  # bytes; files go by HTTP, not through here


class PageLink:
    """Serves one WebSocket until either side closes it."""

    def __init__(self, whatsapp: WhatsApp, limits: Limits, socket: web.WebSocketResponse) -> None:
        self._limits = limits
        self._whatsapp, self._policy, self._socket = whatsapp, whatsapp.policy, socket
        self._outgoing: asyncio.Queue[Stanza | None] = asyncio.Queue()
        self._challenge = secrets.token_urlsafe(24)
        self._device: Device | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._codes: asyncio.Task[None] | None = None

    def send(self, stanza: Stanza) -> None:
        self._outgoing.put_nowait(stanza)

    def close(self) -> None:
        """Close once everything that was sent before is out."""
        self._outgoing.put_nowait(None)

    async def serve(self) -> None:
        self._spawn(self._write())
        self.send({"type": "welcome", "challenge": self._challenge})
        try:
            async for frame in self._socket:
                if frame.type is WSMsgType.TEXT:
                    stanza = frame.json()
                    handled = self._whatsapp.linking.passkeys.handle(self, stanza)
                    handled = handled or group_answers.handle(
                        self._whatsapp, self._device, self.send, stanza
                    )
                    if not handled:
                        getattr(self, f"on_{stanza['type']}")(stanza)
        finally:
            self._whatsapp.detach(self)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while (stanza := await self._outgoing.get()) is not None:
                await self._socket.send_json(stanza)
        # In a task of its own: close() waits for the reader, which cancels this one when it ends.
        await self._socket.close()

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _later(self, delay: float, stanza: Stanza) -> None:
        """Answer on this connection, or never if it is gone by then."""
        if delay <= 0:
            self.send(stanza)
            return

        async def answer() -> None:
            await asyncio.sleep(delay)
            self.send(stanza)

        self._spawn(answer())

    # --- linking

    def on_register(self, stanza: Stanza) -> None:
        if self._whatsapp.versions.is_refused(stanza["revision"], ""):
            self.send({"type": "block", "kind": "DEPRECATED_VERSION"})
            return
        self._codes = self._spawn(self._show_codes())

    def on_refresh_qr(self, _stanza: Stanza) -> None:
        if self._codes is not None and self._device is None:
            self._codes.cancel()
            self._codes = self._spawn(self._show_codes())

    async def _show_codes(self) -> None:
        policy = self._policy
        for number in range(policy.qr_count):
            self.send({"type": "ref", "ref": self._whatsapp.linking.show_ref(self)})
            await asyncio.sleep(policy.qr_lifetime if number else policy.qr_first_lifetime)
            if self._whatsapp.linking.passkeys.awaits(self):
                return
        self._whatsapp.linking.forget_page(self)
        self.send({"type": "idle"})
        self.close()

    def on_pairing_code(self, stanza: Stanza) -> None:
        if self._policy.codes is not None:
            if not self._policy.codes:
                answer = {"type": "result", "number": stanza["number"]}
                self.send(answer | {"error": "429 rate-overlimit"})
                return
            self._policy.codes -= 1
        phone = "".join(c for c in str(stanza["phone"]) if c.isdigit())
        code = self._whatsapp.linking.make_pairing_code(phone, self)
        self.send({"type": "result", "number": stanza["number"], "code": code})

    # --- a linked device

    def on_login(self, stanza: Stanza) -> None:
        proof = Proof(
            self._challenge,
            base64.b64decode(stanza["signature"]),
            base64.b64decode(stanza["public_key"]),
        )
        device = self._whatsapp.log_in(stanza["device"], stanza["secret"], proof)
        if device is None:
            self.send({"type": "logged_out", "reason": "unknown_companion"})
        elif device.refused_until > time.monotonic():
            self.close()
        elif self._whatsapp.versions.is_refused(stanza["revision"], device.phone):
            self.send({"type": "block", "kind": "DEPRECATED_VERSION"})
        elif device.block:
            self.send({"type": "block", "kind": device.block})
        elif self._policy.ghosts:
            self._policy.ghosts -= 1
            self.send({"type": "ghost"})
        else:
            self._device, device.revision = device, stanza["revision"]
            self._whatsapp.attach(device, self)
            is_fresh = not device.is_synced
            lids = self._whatsapp.lids_of(device.phone).pairs()
            name = f"Stand-in {device.phone}"
            groups = self._whatsapp.named(self._whatsapp.groups.get(device.phone, {}))
            known = {"name": name, "lids": lids} | groups
            known["admin_of"] = sorted(self._whatsapp.admin_of.get(device.phone, ()))
            self.send({"type": "success", "isFresh": is_fresh} | known)
            for lock in self._limits.stanzas(device):
                self.send(lock)
            if is_fresh:
                self._spawn(self._sync(device))
            else:  # at once: nothing new may come between
                self._deliver_queue(device)

    async def _sync(self, device: Device) -> None:
        past, chunk = self._whatsapp.history(device), self._policy.history_chunk
        if not chunk:
            self.send({"type": "history", "messages": past})
        await asyncio.sleep(self._policy.sync)
        device.is_synced = True
        self._deliver_queue(device)
        for start in range(0, len(past) if chunk else 0, chunk or 1):
            device.enqueue({"type": "history", "messages": past[start : start + chunk]})

    def _deliver_queue(self, device: Device) -> None:
        self._whatsapp.deliver_queue(device)
        self.send({"type": "offline_done"})
        if self._policy.update_again:
            self.send({"type": "needs_update", "value": True})

    def on_ack(self, stanza: Stanza) -> None:
        if self._device is not None:
            self._whatsapp.acknowledge(self._device, stanza["number"])

    def on_seen(self, stanza: Stanza) -> None:
        if self._device is not None:
            self._whatsapp.read(self._device, stanza["chat"])

    def on_act(self, stanza: Stanza) -> None:
        policy, device = self._policy, self._device
        if device is None:
            return
        if stanza["kind"] == "chatstate":
            self._whatsapp.chatstates.append((device.phone, stanza["target"], stanza["text"]))
            return
        if policy.never_answer == "lost" or self._whatsapp.is_unreadable(device):
            self._whatsapp.lost.append(stanza["target"])
            return
        if not policy.send_error:
            self._whatsapp.act(device, stanza["target"], stanza["kind"], stanza["text"])
        answer = {"type": "result", "number": stanza["number"]}
        if policy.never_answer == "drop":
            self.close()
        elif not policy.never_answer:
            self._later(policy.ack_delay, answer | {"result": policy.send_error or "OK"})

    def on_exists(self, stanza: Stanza) -> None:
        if self._policy.exists_silent:
            return
        answer: Stanza = {"type": "result", "number": stanza["number"]}
        phone = stanza["wid"].split("@")[0]
        self._whatsapp.asked.append(phone)
        if self._policy.exists_error:
            self.send(answer | {"error": "internal server error"})
        elif self._policy.exists_too_often:
            self.send(answer | {"error": "429 rate-overlimit"})
        else:
            self.send(answer | {"exists": self._policy.exists.get(phone, True)})

    def on_logout(self, _stanza: Stanza) -> None:
        if self._device is not None:
            self._device.is_linked = False
            self._device.queue.clear()
            self.send({"type": "logged_out", "reason": "user_initiated"})

    def on_send(self, stanza: Stanza) -> None:
        policy, device = self._policy, self._device
        if device is None:
            return
        way = self._limits.way(device, stanza["id"])
        if policy.never_answer == "lost" or way == "drop" or self._whatsapp.is_unreadable(device):
            self._whatsapp.lost.append(stanza["id"])
            return
        message = self._whatsapp.accept(device, stanza["id"], stanza["attributes"])
        answer = {"id": stanza["id"], "t": int(time.time())}
        if way == "refuse":
            message.ack = ACK_FAILED
            self.send(answer | {"type": "refused", "error": "ERROR_UNKNOWN"})
            return
        if policy.send_error and message.ack < ACK_SENT:
            message.ack = ACK_FAILED
            self._later(policy.ack_delay, answer | {"type": "refused", "error": policy.send_error})
            return
        if message.ack < ACK_SENT:
            self._whatsapp.carry(device, message)
        if policy.never_answer == "drop":
            self.close()
        elif not policy.never_answer:
            self._later(policy.ack_delay, answer | {"type": "server_ack"})
            if policy.auto_receipt:
                self._whatsapp.receipt(device.phone, message.id, policy.auto_receipt)
