"""A fleet to look at: what is healthy, what is not, and names that break careless pages."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.api.conftest import Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from tests.api.test_webhooks import LID, letters, of_nobody
from waguard.core.blame import Blame, Condition
from waguard.core.passkey_link import PasskeyStage
from waguard.core.replace import replace
from waguard.ports.outcomes import Uncertain
from waguard.ports.passkeys import PasskeyView
from waguard.ports.process import Usage
from waguard.ports.store import AuditEntry
from waguard.wire.reports import PageVersion

REAL: Final = "webjs_4_1732240003_dddddddd"
SCAN, KEYED, PARKED = "shop_jakarta", "shop_depok", "shop_medan"
ODD: Final = '<b onclick="alert(1)">bold</b> مرحبا بالعالم 👩‍👩‍👧‍👦 ' + "W" * 200


def condition(session: str | None, kind: str, message: str, remedy: str, **more: Any) -> Condition:
    given: dict[str, Any] = {"blame": Blame.WHATSAPP, "reason": kind, "since": time.time() - 740}
    return Condition(session=session, type=kind, message=message, remedy=remedy, **given | more)


def _view(name: str, number: int, **changes: Any) -> Any:
    since = datetime.now(UTC) - timedelta(hours=7 * number + 1)
    usual: dict[str, Any] = {
        "phone_number": f"62811800{1000 + number * 37}",
        "connected_at": since,
        "restarts": number % 3,
        "usage": Usage(cpu_percent=0.4 + number % 5, memory=(140 + number * 9) << 20),
        "version": PageVersion(page=1042999, served_by="network"),
        "workspace_id": 1 + number % 3,
    }
    return a_view(session_id=name, **usual | changes)


def fleet(api: Api, *, odd: bool = False) -> None:
    """Twelve sessions, of which some need a person."""
    blocked = condition(
        PARKED,
        "parked",
        "WhatsApp blocks this session" + (f": {ODD}" if odd else ""),
        f"The phone shows what WhatsApp wants. Then `waguard sessions restart {PARKED}`.",
        reason="blocked",
    )
    scan = condition(SCAN, "link", "it waits for a scan", f"`waguard qr {SCAN}` shows the code.")
    held = condition(
        None,
        "webhooks_down",
        "the receiver accepts no webhooks" + (f": {ODD}" if odd else ""),
        "Repair the receiver; waguard tries it at least once a minute.",
        blame=Blame.OPERATOR,
    )
    unlinked: dict[str, Any] = {"status": "qr_scanning", "phone_number": None, "connected_at": None}
    parked: dict[str, Any] = {"status": "failed", "link": "blocked", "lifecycle": "parked"}
    cities = ("bandung", "bogor", "surabaya", "malang", "semarang", "padang", "bali")
    views = [
        _view(REAL, 1),
        *(_view(f"shop_{city}", at + 2) for at, city in enumerate(cities)),
        _view(SCAN, 3, link="qr_pending", conditions=(scan,), **unlinked),
        _view(KEYED, 4, link="passkey_required", **unlinked),
        _view(PARKED, 5, conditions=(blocked,), usage=None, **parked),
        _view(
            "shop_tegal", 6, status="disconnected", link="unknown", lifecycle="stopped", usage=None
        ),
    ]
    api.sessions.known = {it.session_id: it for it in views}
    api.sessions.status = replace(
        HEALTHY, total=12, connected=8, disconnected=4, conditions=(held, blocked, scan)
    )
    until = time.time() + 540
    api.passkeys.shown = PasskeyView(stage=PasskeyStage.OFFERED, until=until, expires_in=540.0)


async def past(api: Api, *, odd: bool = False) -> None:
    """Messages in each state that waits, dead letters, incidents."""
    more = f" {ODD}" if odd else ""
    api.sessions.known[SESSION] = a_view()  # theirs
    await letters(api, 2, f"the receiver answered 404{more}")
    await of_nobody(api, LID, "S")
    wall = api.database._database.wall
    api.database._database.wall = lambda: wall() + 901.0
    del api.sessions.known[SESSION]
    text = {"session_id": REAL, "recipient_phone": "6281234567890", "message": "hello"}
    api.sessions.outcomes.append(Uncertain(f"no answer{more}"))
    await api.call("POST", "/api/messages/send", text)
    await api.call("POST", "/api/messages/send", text)
    await api.call("POST", "/api/messages/send", text | {"send_at": time.time() + 3600})
    now = time.time()
    for before, kind in ((7200.0, "parked"), (7100.0, "left"), (740.0, "parked")):
        reason = f"the page is not ready{more}"
        entry = AuditEntry(session_id=PARKED, kind=kind, reason=reason, at=now - before)
        await api.store.record(entry)
