"""What waited for a device comes before what comes while it logs in."""

from typing import Any

import pytest

from waguard.lab.standin.accounts import Device
from waguard.lab.standin.behaviour import Policy
from waguard.lab.standin.limits import Limits
from waguard.lab.standin.page_connection import PageLink
from waguard.lab.standin.whatsapp import WhatsApp

PHONE = "6281180001"


def test_a_message_that_comes_at_the_login_is_behind_those_that_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whatsapp = WhatsApp(Policy())
    device = Device(id=f"{PHONE}:1@c.us", phone=PHONE, secret="", public_key=b"", is_synced=True)
    whatsapp.devices[PHONE] = [device]
    monkeypatch.setattr(whatsapp, "log_in", lambda *_: device)
    nobody: Any = None
    link = PageLink(whatsapp, Limits(whatsapp), nobody)

    def write(body: str) -> None:
        whatsapp.incoming(PHONE, "62812@c.us", "62812@c.us", {"type": "chat", "body": body})

    write("waited")
    proof = {"secret": "", "signature": "", "public_key": ""}
    link.on_login({"device": device.id, "revision": 1, **proof})
    write("at the login")
    reported = []
    while not link._outgoing.empty():
        reported.append(link._outgoing.get_nowait() or {})
    said = [s["attributes"]["body"] if s["type"] == "message" else s["type"] for s in reported]
    assert said == ["success", "waited", "offline_done", "at the login"]
