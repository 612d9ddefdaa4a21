"""How a browser is linked: codes that a page shows, what their scan is answered, pairing codes, the passkey."""

import base64
import itertools
import secrets

from waguard.lab.standin.accounts import Device, Page
from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.passkeys import CODE_ALPHABET, Passkeys
from waguard.lab.standin.refusal import Refusal

CODE_LENGTH = 8


class Linking:
    """New devices of all accounts: they are added to ``devices``. `scan`, `pair`, … raise Refusal with a remedy."""

    def __init__(self, policy: Policy, devices: dict[str, list[Device]]) -> None:
        self.policy = policy
        self.devices = devices
        self.refs: dict[str, Page] = {}  # live codes
        self.expired_refs: set[str] = set()
        self.pairing_codes: dict[str, tuple[str, Page]] = {}  # by phone number
        self.passkeys = Passkeys(policy, self._accept)
        self._device_numbers = itertools.count(1)

    def show_ref(self, page: Page) -> str:
        """A new code for this page; its previous one is dead."""
        self.forget_page(page)
        ref = f"2@{secrets.token_urlsafe(24)}"
        self.refs[ref] = page
        return ref

    def forget_page(self, page: Page) -> None:
        for ref in [r for r, p in self.refs.items() if p is page]:
            self.expired_refs.add(ref)
            del self.refs[ref]
        self.passkeys.forget_page(page)

    def make_pairing_code(self, phone: str, page: Page) -> str:
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
        self.pairing_codes[phone] = (code, page)
        return code

    def scan(self, code: str, phone: str) -> Device:
        parts = code.strip().split(",")
        if len(parts) != 4:  # noqa: PLR2004 - ref, noise key, identity key, secret
            raise Refusal(
                409,
                "that is not a code of WhatsApp Web",
                "pass the text of the QR code: four parts, separated by commas",
                "code",
                code,
            )
        page = self.refs.get(parts[0])
        if page is None:
            error = "that code has expired" if parts[0] in self.expired_refs else "unknown code"
            raise Refusal(409, error, "scan the code that the page shows now", "code", code)
        try:
            noise_key = base64.b64decode(parts[1], validate=True)
        except ValueError:
            raise Refusal(
                409, "that code is damaged", "pass the whole text", "code", code
            ) from None
        return self._link(page, phone, noise_key)

    def pair(self, phone: str, code: str) -> Device:
        expected, page = self.pairing_codes.get(phone, ("", None))
        if page is None or page not in self.refs.values():
            raise Refusal(
                409,
                f"no page waits for a pairing code of {phone}",
                "ask the page for a code for that phone number first",
                "phone",
                phone,
            )
        if code.replace("-", "").upper() != expected:
            raise Refusal(
                409, "wrong pairing code", "enter the code that was last shown", "code", code
            )
        del self.pairing_codes[phone]
        return self._link(page, phone, b"")

    def _link(self, page: Page, phone: str, noise_key: bytes) -> Device:
        device = Device(
            id=f"{phone}:{next(self._device_numbers)}@c.us",
            phone=phone,
            secret=secrets.token_urlsafe(16),
            public_key=noise_key,
        )
        self.forget_page(page)
        if self.policy.passkey:
            self.passkeys.offer(device, page)
        else:
            self._accept(device, page)
        return device

    def _accept(self, device: Device, page: Page) -> None:
        self.devices.setdefault(device.phone, []).append(device)
        linked = {"wid": f"{device.phone}@c.us", "device": device.id, "secret": device.secret}
        page.send({"type": "paired", "linked": linked})
