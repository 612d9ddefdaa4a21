"""What the server answers a page about groups, their invitations, and pictures; and what it hears of its presence."""

import secrets
from collections.abc import Callable

from waguard.lab.standin.accounts import Device, Stanza
from waguard.lab.standin.whatsapp import WhatsApp

_FAILURES = {"error": "500 internal-server-error", "too_often": "429 rate-overlimit"}
_RESTRICTED = "403"


def handle(
    whatsapp: WhatsApp, device: Device | None, send: Callable[[Stanza], None], stanza: Stanza
) -> bool:
    """Whether the stanza is one of these."""
    match stanza["type"]:
        case "presence":
            if device:
                device.available = stanza["available"]
        case "ask":
            answer = _answered(whatsapp, device, stanza) if device else None
            if answer is not None:
                send({"type": "result", "number": stanza["number"]} | answer)
        case _:
            return False
    return True


def _answered(whatsapp: WhatsApp, device: Device, stanza: Stanza) -> Stanza | None:
    """None: the page gets no answer."""
    way = whatsapp.policy.groups
    if error := _FAILURES.get(way):
        return {"error": error}
    found = _answer(whatsapp, device, stanza)
    return None if way == "silent" else found


def _answer(whatsapp: WhatsApp, device: Device, stanza: Stanza) -> Stanza:
    groups = whatsapp.groups.setdefault(device.phone, {})
    people = stanza.get("people", [])
    refused = [it for it in people if it.partition("@")[0] in whatsapp.policy.not_addable]
    added = [(it, _RESTRICTED if it in refused else None) for it in people]
    joined = tuple(it for it in people if it not in refused)
    match stanza["what"]:
        case "create":
            group = f"120363{secrets.randbelow(10**12):012}@g.us"
            whatsapp.group_names[group] = stanza["name"]
            whatsapp.gather(device.phone, group, (f"{device.phone}@c.us", *joined), admin=True)
            return {"id": group, "added": added}
        case "add":
            group = stanza["group"]
            new = tuple(it for it in joined if it not in groups[group])
            whatsapp.gather(device.phone, group, (*groups[group], *new), admin=True)
            return {"added": added}
        case "remove":
            group = stanza["group"]
            left = tuple(it for it in groups[group] if it not in people)
            whatsapp.gather(device.phone, group, left, admin=True)
            return {}
        case "invite":
            return {"code": f"code-of-{stanza['group'].partition('@')[0]}"}
        case "picture":
            return {"url": whatsapp.pictures.get(stanza["of"])}
        case what:
            raise ValueError(what)
