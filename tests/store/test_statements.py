"""One host alone pays nothing for clusters: so many statements has each write, and none is about owners."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import event

from tests.store.test_messages import entry
from tests.store.test_outbox import draft
from waguard.core.messages.send_states import State
from waguard.core.proxy import Recorded
from waguard.core.row_status import DerivedStatus, Status
from waguard.core.shipping import Claim, Note, Part
from waguard.core.webhooks.delivery import Cause
from waguard.core.webhooks.pending import DeliveryResult
from waguard.ports.messages import NamedFile
from waguard.ports.outbox import StateUpdate, Withdrawal
from waguard.ports.webhooks import GLOBAL
from waguard.store.sql import SqlStore

FILE: Mapping[str, Any] = {"mimetype": "image/png", "size": 1, "sha256": None, "deferred": None}
Call = Callable[[SqlStore], Awaitable[object]]
CALLS: Mapping[str, tuple[Call, int]] = {
    "create": (lambda it: it.create("a", 7, account_id=None, priority=0), 8),
    "write_status": (lambda it: it.write_status("a", 1, DerivedStatus(Status.CONNECTED)), 5),
    "touch": (lambda it: it.touch("a"), 4),
    "keep_limits": (lambda it: it.keep_limits("a", "{}"), 3),
    "correct": (lambda it: it.accounts.correct("a", said="failed", generation=1), 2),
    "link_phone": (lambda it: it.messages.link_phone("a", "49170"), 1),
    "one to send": (lambda it: it.messages.write([], outgoing=[draft("m")]), 1),
    "several": (
        lambda it: it.messages.write(
            [entry("k1"), entry("k2")],
            [DeliveryResult(id=7, event_id="e")],
            outgoing=[draft("n"), StateUpdate(id=1, state=State.SENDING), Withdrawal("w")],
        ),
        10,
    ),
    "dead_letter_pending": (
        lambda it: it.messages.dead_letter_pending("why", Cause.REMOVED, endpoint="*", limit=1),
        2,
    ),
    "replay": (lambda it: it.messages.replay(1, 1, [GLOBAL]), 2),
    "release_restored": (lambda it: it.messages.release_restored([GLOBAL], pending=True), 2),
    "discard": (lambda it: it.messages.discard(2), 1),
    "discard_unidentified": (lambda it: it.messages.discard_unidentified("a", "7@lid"), 1),
    "no_messages": (lambda it: it.messages.no_messages("a", ["u"]), 2),
    "give_up": (lambda it: it.messages.give_up("why", session_id="a", limit=1), 1),
    "fetch_again": (
        lambda it: it.messages.fetch_again(
            NamedFile(session_id="a", key="k1", message_id="k1", **FILE)
        ),
        2,
    ),
    "begin_file": (lambda it: it.messages.begin_file("h"), 1),
    "credentials": (lambda it: it.credentials.commit("a", Claim(note=Note("h", 1))), 2),
    "parts": (
        lambda it: it.credentials.put("a", [Part(file="f", number=0, epoch=1, sealed=b"")]),
        2,
    ),
    "proxies": (lambda it: it.proxies.record("a", Recorded(mark="", at=1.0)), 2),
    "sessions": (lambda it: it.sessions(), 2),
    "unfinished": (lambda it: it.outbox.unfinished(uncertain_since=0.0, answered_since=0.0), 1),
    "unreported": (lambda it: it.outbox.unreported(since=0.0), 1),
    "pending": (lambda it: it.messages.pending(GLOBAL, after=0, limit=9), 1),
    "files_to_fetch": (lambda it: it.messages.files_to_fetch(), 1),
    "tidy": (
        lambda it: it.messages.tidy(
            inbox_before=1e10,
            reported_before=1e10,
            dead_before=1e10,
            undecryptable_before=1e10,
            limit=9,
        ),
        12,
    ),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_one_host_alone_has_no_statement_more(
    store: SqlStore, subtests: pytest.Subtests
) -> None:
    statements: list[str] = []
    engines = store._database._engines
    assert engines
    for engine in {engines.reader, engines.writer}:
        event.listen(
            engine.sync_engine,
            "before_cursor_execute",
            lambda *given: statements.append(given[2]),
        )
    for name, (call, count) in CALLS.items():
        statements.clear()
        await call(store)
        with subtests.test(name):
            assert len(statements) == count, statements
            assert not [it for it in statements if "waguard_owners" in it]
