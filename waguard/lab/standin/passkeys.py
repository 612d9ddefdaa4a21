"""Linkings that need the account's passkey: what WhatsApp's server asks for and accepts, and the key itself.

The key is a software key, so that a person's part needs no second browser: `Phone.passkey` signs with it. Read:
Baileys#2689 for the options, WhatsApp Web's published source for the steps. Assumed: that the server takes an answer
once, and no longer than its options are good for.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct, field

from waguard.lab.standin.accounts import Device, Page, Stanza
from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.refusal import Refusal

RP_ID: Final = "whatsapp.com"
ORIGIN: Final = "https://web.whatsapp.com"
CODE_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"  # what WhatsApp draws its codes from
PRESENT, VERIFIED = 1, 4  # flags of the authenticator: a person is there, and is the right one
SIGNED = hashes.SHA256()


def b64(raw: bytes) -> str:
    """As WebAuthn's JSON has bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Credential(Struct):
    """The passkey of an account."""

    id: bytes = field(default_factory=lambda: secrets.token_bytes(20))
    user: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    used: int = 0

    def sign(self, options: dict[str, Any], origin: str, *, verified: bool) -> dict[str, Any]:
        """The answer to a request with these options, as a browser writes it as JSON."""
        self.used += 1
        said = {"type": "webauthn.get", "challenge": options["challenge"], "origin": origin}
        client = json.dumps(said | {"crossOrigin": False}, separators=(",", ":")).encode()
        flags = PRESENT | (VERIFIED if verified else 0)
        rp = hashlib.sha256(options["rpId"].encode()).digest()
        data = rp + bytes([flags]) + self.used.to_bytes(4)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SIGNED))
        return {
            "id": b64(self.id),
            "rawId": b64(self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                "userHandle": b64(self.user),
            },
        }

    def to_json(self) -> dict[str, str]:
        """As DevTools' `WebAuthn.addCredential` takes it; base64, and not base64url."""
        private = self.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        named = {"credentialId": self.id, "privateKey": private, "userHandle": self.user}
        return {name: base64.b64encode(raw).decode() for name, raw in named.items()}


class _Waiting(Struct):
    device: Device
    page: Page
    challenges: dict[str, float] = field(default_factory=dict)  # monotonic: when each was given
    answered: bool = False


class Passkeys:
    """The accounts' passkeys, and the pages that wait for one. ``accept`` links a device."""

    def __init__(self, policy: Policy, accept: Callable[[Device, Page], None]) -> None:
        self._policy = policy
        self._accept = accept
        self._waiting: list[_Waiting] = []
        self._credentials: dict[str, Credential] = {}

    def credential(self, phone: str) -> Credential:
        """The passkey of this account."""
        return self._credentials.setdefault(phone, Credential())

    def offer(self, device: Device, page: Page) -> None:
        """The page is to ask for the passkey of the account that it was linked with."""
        self._waiting.append(_Waiting(device, page))
        times = {"lifetime": self._policy.passkey_lifetime, "wait": self._policy.passkey_wait}
        unattended = self._policy.passkey_unattended
        stanza = {"type": "passkey", "options": self.options(page), "unattended": unattended}
        page.send(stanza | times)

    def forget_page(self, page: Page) -> None:
        """Forget a page that is gone, or shows another code."""
        self._waiting = [it for it in self._waiting if it.page is not page]

    def awaits(self, page: Page) -> bool:
        """Whether this page was asked for a passkey."""
        return any(it.page is page for it in self._waiting)

    def options(self, page: Page) -> dict[str, Any]:
        """Fresh ones, with a challenge that is good for one answer."""
        challenge = b64(secrets.token_bytes(32))
        self._of(page).challenges[challenge] = time.monotonic()
        return {
            "challenge": challenge,
            "timeout": round(self._policy.passkey_lifetime * 1000),
            "rpId": RP_ID,
            "allowCredentials": [],
            "userVerification": "required",
            "extensions": {"uvm": True},
        }

    def handle(self, page: Page, stanza: Stanza) -> bool:
        """Answer a question of a page about its passkey; False: it is no such question.

        What follows from the question comes after its answer.
        """
        result: Stanza = {"type": "result", "number": stanza.get("number")}
        try:
            match stanza["type"]:
                case "passkey_options":
                    page.send(result | {"options": self.options(page)})
                case "passkey_answer":
                    self._answer(page, stanza["assertion"])
                    page.send(result)
                    self._go_on(page)
                case "passkey_confirm":
                    waiting = self._confirm(page)
                    page.send(result)
                    self.forget_page(page)
                    self._accept(waiting.device, page)
                case _:
                    return False
        except Refusal as refusal:
            page.send(result | {"error": refusal.error})
        return True

    def _answer(self, page: Page, assertion: dict[str, Any]) -> None:
        waiting = self._of(page)
        if why := self._wrong(waiting, assertion):
            raise Refusal(409, why, "sign the newest request with the account's passkey")
        waiting.answered = True

    def _go_on(self, page: Page) -> None:
        """The phone goes on by itself after an answer, and shows the code that the page shows."""
        if self._policy.passkey_way == "silent":
            return
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(8))
        compare = self._policy.passkey_way == "compare"
        page.send({"type": "passkey_code", "code": code, "compare": compare})

    def _confirm(self, page: Page) -> _Waiting:
        """The page says that both show the same code."""
        waiting = self._of(page)
        if not waiting.answered:
            raise Refusal(409, "no passkey was shown", "answer the request first")
        return waiting

    def sign(
        self, options: dict[str, Any], phone: str, *, origin: str, verified: bool
    ) -> dict[str, Any]:
        """What the account's passkey answers to a request with these options."""
        for name in ("challenge", "rpId"):
            if not isinstance(options.get(name), str):
                remedy = "pass the options of the request, as JSON"
                raise Refusal(400, f"the options have no {name}", remedy, "options", options)
        return self.credential(phone).sign(options, origin, verified=verified)

    def _of(self, page: Page) -> _Waiting:
        for it in self._waiting:
            if it.page is page:
                return it
        raise Refusal(409, "this page waits for no passkey", "scan a code first")

    def _wrong(self, waiting: _Waiting, assertion: dict[str, Any]) -> str:
        """Why the server does not take it; empty: it does."""
        try:
            given = {k: unb64(v) for k, v in assertion["response"].items() if v is not None}
            client, data = json.loads(given["clientDataJSON"]), given["authenticatorData"]
            signed = data + hashlib.sha256(given["clientDataJSON"]).digest()
            used_id, signature = unb64(assertion["rawId"]), given["signature"]
            challenge, origin = client["challenge"], client["origin"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return "that is no signed answer"
        at = waiting.challenges.pop(challenge, None)
        if at is None:
            return "it answers another request"
        if time.monotonic() - at > self._policy.passkey_lifetime:
            return "it is too late"
        if origin != ORIGIN or client["type"] != "webauthn.get":
            return "it was signed elsewhere"
        if data[:32] != hashlib.sha256(RP_ID.encode()).digest() or not data[32] & VERIFIED:
            return "its person was not verified"
        passkey = self.credential(waiting.device.phone)
        if used_id != passkey.id or self._policy.passkey_way == "wrong_account":
            return "it is another account's passkey"
        try:
            passkey.key.public_key().verify(signature, signed, ec.ECDSA(SIGNED))
        except InvalidSignature:
            return "its signature is wrong"
        return ""
