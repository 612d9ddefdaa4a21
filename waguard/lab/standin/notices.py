"""What WhatsApp reports to a page, on the phone's word: `page/notices.js` shows it.

Where a behaviour is assumed, and not read in a report, the page's part says so.
"""

from collections.abc import Callable
from typing import Any

from waguard.lab.standin.accounts import Device, Stanza
from waguard.lab.standin.whatsapp import WhatsApp

Act = Callable[[Device], None]


class Notices:
    """Raises Refusal where no page of the account is there."""

    def __init__(self, whatsapp: WhatsApp, each: Callable[[str, Act], dict[str, Any]]) -> None:
        """``each`` does something to each linked device of an account, and shows them."""
        self._whatsapp = whatsapp
        self._each = each

    def needs_update(self, phone: str, *, over: bool) -> dict[str, Any]:
        """The pages learn of a newer version, or that there is none."""
        return self._each(phone, lambda d: _send(d, {"type": "needs_update", "value": not over}))

    def ghost(self, phone: str) -> dict[str, Any]:
        """The pages lose their connection and do not notice."""

        def haunt(device: Device) -> None:
            page, device.page = device.page, None
            if page is not None:
                page.send({"type": "ghost"})

        return self._each(phone, haunt)

    def reload(self, phone: str) -> dict[str, Any]:
        """The pages reload themselves."""
        return self._each(phone, lambda d: _send(d, {"type": "reload"}))

    def spin(self, phone: str) -> dict[str, Any]:
        """The pages' scripts never end."""
        return self._each(phone, lambda d: _send(d, {"type": "spin"}))

    def modal(self, phone: str) -> dict[str, Any]:
        """A dialog covers the pages."""
        return self._each(phone, lambda d: _send(d, {"type": "modal"}))


def _send(device: Device, stanza: Stanza) -> None:
    if device.page is not None:
        device.page.send(stanza)
