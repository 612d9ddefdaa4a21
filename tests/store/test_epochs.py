"""Who does not own a session writes nothing about it, whatever it believes; each write of the store is one case."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.store.application import SqlApplication
from tests.store.hosts import Host, created, hosts, message
from tests.store.test_messages import entry, failed
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.messages.send_states import State
from waguard.core.proxy import Recorded
from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus, Status
from waguard.core.shipping import Claim, Note, Part
from waguard.core.webhooks.delivery import Cause
from waguard.core.webhooks.pending import DeliveryResult, Pending, delivered
from waguard.errors import NotOwnedError
from waguard.ports.messages import NamedFile
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal
from waguard.ports.store import AuditEntry
from waguard.ports.webhooks import GLOBAL, Endpoint
from waguard.store.dead_letters import REPLAYED_AT_ONCE
from waguard.store.models import METADATA
from waguard.store.sql import SqlStore
from waguard.store.statuses import _Status

usually_sqlite = pytest.mark.parametrize(
    "ready",
    ["sqlite", *(pytest.param(it, marks=pytest.mark.long) for it in ("postgresql", "mariadb"))],
    indirect=True,
)
CONNECTED = DerivedStatus(Status.CONNECTED)
CLAIM = Claim(note=Note("h0", 1), pairing="p", sealed=b"s", sealed_epoch=1, shipped_at=1.0)
PART = Part(file="f", number=0, epoch=1, sealed=b"x")
OWN_RECEIVER = Endpoint(session_id="s1", url="https://x.example/", secret=None)
FILE = NamedFile(
    session_id="s1",
    key="k",
    message_id="m",
    mimetype="image/png",
    size=1,
    sha256=None,
    deferred=None,
)
UNREADABLE = InboxRecord(
    session_id="s1",
    workspace_id=7,
    key="undecryptable:u",
    kind=Kind.UNDECRYPTABLE,
    at=1.0,
    chat="49170@c.us",
    ref=("undecryptable:", "false_49170@c.us_u"),
    events=(EventPayload("message_error", {}),),
)


@dataclass
class Filled:
    """One session of h0's with a row of everything, as ids."""

    hosts: list[Host]
    url: str
    ids: dict[str, int] = field(default_factory=dict)
    webhooks: list[Pending] = field(default_factory=list)
    """One that is pending, one that is dead."""

    @property
    def store(self) -> SqlStore:
        return self.hosts[0].store

    async def rows(self) -> Mapping[str, Any]:
        """All there is, but for the audit log."""
        app = SqlApplication(self.url)
        names = [it for it in METADATA.tables if it not in {"waguard_events", "waguard_owners"}]
        return {name: await app.rows(f"SELECT * FROM {name}") for name in names}


@pytest.fixture
async def filled(ready: str) -> AsyncIterator[Filled]:
    async with hosts(ready, 2, sessions=["s1", "s2"]) as made:
        it = Filled(made, ready)
        store = it.store
        drafts = [message("s1", "a"), message("s1", "b", state=State.SENDING)]
        written = await store.messages.write([], outgoing=drafts)
        it.ids["accepted"], it.ids["sending"] = (number or 0 for number in written.kept)
        await store.messages.write([entry("k1", session="s1"), entry("k2", session="s1")])
        await store.messages.write([UNREADABLE])
        found, _ = await store.messages.pending(GLOBAL, after=0, limit=10)
        it.webhooks.extend(found)
        it.ids["pending"], it.ids["dead"] = (one.id for one in found)
        await store.messages.write([], [failed(found[1], "refused")])
        await store.messages.fetch_again(FILE)
        yield it


Write = Callable[[Filled], Awaitable[object]]


def handle(it: Filled) -> Awaitable[Any]:
    return SqlApplication(it.url).rows("SELECT handle FROM waguard_files")


async def end_file(it: Filled) -> None:
    [row] = await handle(it)
    await it.store.messages.end_file(row["handle"], sha256="0" * 64)


async def begin_file(it: Filled) -> None:
    [row] = await handle(it)
    await it.store.messages.begin_file(row["handle"])


REFUSED: dict[str, Write] = {
    "touch": lambda it: it.store.touch("s1"),
    "keep_limits": lambda it: it.store.keep_limits("s1", "{}"),
    "create": lambda it: it.store.create("s1", 1, account_id=None, priority=3),
    "link_phone": lambda it: it.store.messages.link_phone("s1", "49170"),
    "no_messages": lambda it: it.store.messages.no_messages("s1", ["false_49170@c.us_u"]),
    "give_up": lambda it: it.store.messages.give_up("why", session_id="s1", limit=5),
    "fetch_again": lambda it: it.store.messages.fetch_again(FILE),
    "begin_file": begin_file,
    "end_file": end_file,
    "credentials.put": lambda it: it.store.credentials.put("s1", [PART]),
    "credentials.commit": lambda it: it.store.credentials.commit("s1", CLAIM),
    "proxies.record": lambda it: it.store.proxies.record("s1", Recorded(mark="", at=1.0)),
    "discard": lambda it: it.store.messages.discard(it.ids["dead"]),
    "discard_unidentified": lambda it: it.store.messages.discard_unidentified("s1", "7@lid"),
}
NOT_ACCEPTED: dict[str, Write] = {
    "write_status": lambda it: it.store.write_status("s1", 9, CONNECTED),
    "correct": lambda it: it.store.accounts.correct("s1", said="qr_scanning", generation=1),
    "dead_letter_pending": lambda it: it.store.messages.dead_letter_pending(
        "why", Cause.REMOVED, endpoint=GLOBAL, limit=10
    ),
    "replay": lambda it: it.store.messages.replay(it.ids["dead"], it.ids["dead"], [GLOBAL]),
    "release_restored": lambda it: it.store.messages.release_restored([GLOBAL], pending=True),
    "replay_unidentified": lambda it: it.store.messages.replay_unidentified(
        "s1", "7@lid", [GLOBAL]
    ),
}


@usually_sqlite
async def test_who_lost_a_session_writes_nothing_about_it(
    filled: Filled, subtests: pytest.Subtests
) -> None:
    assert await filled.hosts[1].claim("s1") == 2
    before = await filled.rows()
    assert filled.store.refused == 0
    for name, write in REFUSED.items():
        with subtests.test(name), pytest.raises(NotOwnedError):
            await write(filled)
    assert filled.store.refused == len(REFUSED)
    for name, write in NOT_ACCEPTED.items():
        with subtests.test(name):
            assert not await write(filled)
    assert await filled.rows() == before
    assert filled.store.refused > len(REFUSED)


@usually_sqlite
async def test_who_knows_that_it_lost_a_session_hears_so_of_each_call_that_is_about_it(
    filled: Filled, subtests: pytest.Subtests
) -> None:
    del filled.hosts[0].epochs["s1"]
    calls = REFUSED | {
        "dead_letter_pending": lambda it: it.store.messages.dead_letter_pending(
            "why", Cause.OTHER_NUMBER, session_id="s1", limit=10
        ),
        "replay": NOT_ACCEPTED["replay"],
        "replay_unidentified": NOT_ACCEPTED["replay_unidentified"],
    }
    before = await filled.rows()
    for name, write in calls.items():
        with subtests.test(name), pytest.raises(NotOwnedError):
            await write(filled)
    assert await filled.rows() == before


@usually_sqlite
async def test_the_owner_writes_all_of_it(filled: Filled, subtests: pytest.Subtests) -> None:
    """Else the cases above would prove nothing."""
    for name, write in (REFUSED | NOT_ACCEPTED).items():
        with subtests.test(name):
            await write(filled)


@usually_sqlite
async def test_a_lost_session_leaves_the_batch_and_the_others_are_written(filled: Filled) -> None:
    store = filled.store
    assert await filled.hosts[1].claim("s1") == 2
    before = await filled.rows()
    written = await store.messages.write(
        [entry("k3", session="s1"), entry("k4", session="s2"), entry("k5", session="s1")],
        [delivered(filled.webhooks[0]), DeliveryResult(id=999, event_id="gone")],
        outgoing=[
            StateUpdate(id=filled.ids["sending"], state=State.SENT),
            message("s2", "c"),
            message("s1", "d"),
            Withdrawal("true_49170@c.us_a"),
            StateUpdate(id=filled.ids["sending"], answered=True, reports=("s1", "x")),
        ],
    )
    assert written.lost == {"s1"}
    assert written.news == (True,)
    assert [record.key for record in written.received] == ["k4"]
    assert written.unrecorded == {filled.ids["pending"]}
    assert [number is None for number in written.kept] == [True, False, True, True, True]
    after = await filled.rows()
    for table in ("waguard_inbox", "waguard_deliveries", "waguard_outbox"):
        [new] = [row for row in after[table] if row not in before[table]]
        assert new["session_id"] == "s2"
        assert len(after[table]) == len(before[table]) + 1
    refused = store.refused
    assert refused == 1 + 1 + 4, "the session's news, a result, four of the outbox"
    alone = await store.messages.write([], outgoing=[message("s1", "e")])
    assert alone.kept == (None,)
    assert store.refused == refused + 1


@usually_sqlite
async def test_what_a_person_wants_is_written_by_any_host(filled: Filled) -> None:
    other = filled.hosts[1].store
    assert await other.set_desired("s1", up=False)
    await other.set_metadata("s1", {"a": 1})
    assert await other.merge_metadata("s1", {"b": 2}) == {"a": 1, "b": 2}
    await other.messages.put_endpoint(OWN_RECEIVER)
    assert await other.messages.delete_endpoint("s1")
    await other.record(AuditEntry(session_id="s1", kind="seen"))
    assert await other.leave("s1", removed=True)
    await other.soft_delete("s1")
    assert await other.session("s1") is None


@usually_sqlite
async def test_retention_is_for_all_hosts(filled: Filled) -> None:
    other = filled.hosts[1].store
    at = filled.store._database.wall() + 1
    old: dict[str, Any] = {"inbox_before": at, "reported_before": at, "dead_before": 0.0}
    await other.messages.tidy(**old, undecryptable_before=at, limit=100)
    rows = await filled.rows()
    for gone in ("waguard_inbox", "waguard_files", "waguard_undecryptable"):
        assert not rows[gone]
    assert [row["state"] for row in rows["waguard_deliveries"]] == ["dead"] * 3


@usually_sqlite
async def test_a_host_that_is_no_owner_accepts_for_an_epoch_that_it_saw(filled: Filled) -> None:
    first, second = filled.hosts
    write = second.store.messages.write
    accepted = await write([], outgoing=[message("s1", "c", seen=1)])
    assert accepted.kept[0]
    two = [message("s1", "d", seen=1, bulk_id="b"), message("s1", "e", seen=1, bulk_id="b")]
    assert all((await write([], outgoing=two)).kept)
    withdrawn = Withdrawal("true_49170@c.us_c", seen=1)
    assert (await write([], outgoing=[withdrawn])).kept == (1,)
    sends = message("s1", "f", seen=1, state=State.SENDING)
    assert (await write([], outgoing=[sends])).kept == (None,), "nothing leaves from there"
    await first.claim("s1")
    late: list[NewMessage | Withdrawal] = [
        message("s1", "g", seen=1),
        Withdrawal("true_49170@c.us_d", seen=1),
    ]
    assert (await write([], outgoing=late)).kept == (None, None)
    mine = await first.store.messages.write([], outgoing=[message("s1", "h", seen=1)])
    assert mine.kept == (None,), "the owner has read already what was accepted in that epoch"
    by_the_owner = Withdrawal("true_49170@c.us_e", seen=1)
    assert (await first.store.messages.write([], outgoing=[by_the_owner])).kept == (1,)
    left = await first.store.outbox.unfinished(uncertain_since=0.0, answered_since=0.0)
    assert {row.fingerprint for row in left} == {"a", "b", "d"}


@usually_sqlite
async def test_a_host_that_is_no_owner_writes_that_it_answered_and_no_more(filled: Filled) -> None:
    number, store = filled.ids["accepted"], filled.hosts[1].store
    more = StateUpdate(id=number, answered=True, sent_at=1)
    alone = StateUpdate(id=number, answered=True)
    assert (await store.messages.write([], outgoing=[more, alone])).kept == (None, 0)
    assert (row := await store.outbox.find(number))
    assert (row.answered, row.sent_at) == (True, None)


@usually_sqlite
async def test_two_hosts_accept_one_request_once(filled: Filled) -> None:
    first, second = filled.hosts
    asked = message("s1", "c", seen=1, key="order-1")
    assert (await first.store.messages.write([], outgoing=[asked])).kept[0]
    again = await second.store.messages.write(
        [], outgoing=[message("s1", "d", seen=1, key=asked.key)]
    )
    assert again.kept == (None,)
    row = await second.store.outbox.find_key("s1", "order-1")
    assert row
    assert row.fingerprint == "c"


@usually_sqlite
async def test_a_session_without_an_owners_row_has_one_once_something_is_accepted(
    filled: Filled,
) -> None:
    await SqlApplication(filled.url).insert("s3", 1, status="connected")
    write = filled.hosts[1].store.messages.write
    assert (await write([], outgoing=[message("s3", "c", seen=0)])).kept[0]
    assert await SqlApplication(filled.url).rows(
        "SELECT epoch FROM waguard_owners WHERE session_id = 's3'"
    ) == [{"epoch": 0}]
    assert await filled.hosts[0].claim("s3") == 1


@usually_sqlite
async def test_an_epoch_of_another_life_of_the_session_is_not_the_own(filled: Filled) -> None:
    """It was deleted and made again, and its epochs began again."""
    first, second = filled.hosts
    await SqlApplication(filled.url).run("DELETE FROM whatsapp_accounts WHERE session_id = 's1'")
    await SqlApplication(filled.url).run("DELETE FROM waguard_owners WHERE session_id = 's1'")
    await created(second, "s1")
    assert (await second.owner("s1")).epoch == first.epochs["s1"]
    with pytest.raises(NotOwnedError):
        await first.store.touch("s1")
    written = await first.store.messages.write([entry("x", session="s1")])
    assert written.lost == {"s1"}


# ---- what is read ----


@usually_sqlite
async def test_queues_are_read_for_the_sessions_that_are_owned(filled: Filled) -> None:
    first, second = filled.hosts
    await created(second, "s3")
    await second.store.messages.write([entry("k1", session="s3")], outgoing=[message("s3", "c")])
    for host, own in ((first, {"s1", "s2"}), (second, {"s3"})):
        store = host.store
        assert {row.session_id for row in await store.sessions()} == own
        assert len(await store.sessions_of_all_hosts()) == 3
        assert await store.session("s1")
        left = await store.outbox.unfinished(uncertain_since=0.0, answered_since=0.0)
        assert {row.session_id for row in left} == own - {"s2"}
        found, _ = await store.messages.pending(GLOBAL, after=0, limit=10)
        assert {one.session_id for one in found} == own - {"s2"}
        assert {it.session_id for it in await store.messages.files_to_fetch()} == own & {"s1"}
        assert len(await store.outbox.listing()) == 3, "a list for people is of all"
    await first.claim("s3")
    found, _ = await first.store.messages.pending(GLOBAL, after=0, limit=10, sessions=["s3"])
    assert {one.session_id for one in found} == {"s3"}
    left = await first.store.outbox.unfinished(
        uncertain_since=0.0, answered_since=0.0, sessions=["s3"]
    )
    assert {row.session_id for row in left} == {"s3"}


@usually_sqlite
async def test_dead_letters_of_others_keep_no_place_among_those_that_are_replayed(
    filled: Filled,
) -> None:
    first, second = filled.hosts
    many = [entry(f"d{number}", session="s3") for number in range(REPLAYED_AT_ONCE + 1)]
    await created(second, "s3")
    await second.store.messages.write(many)
    found, _ = await second.store.messages.pending(GLOBAL, after=0, limit=1_000)
    await second.store.messages.write([], [failed(one, "refused") for one in found])
    await first.store.messages.write([entry("last", session="s2")])
    [*_, last], _ = await first.store.messages.pending(GLOBAL, after=0, limit=1_000)
    await first.store.messages.write([], [failed(last, "refused")])
    replayed = await first.store.messages.replay(filled.ids["dead"] + 1, last.id, [GLOBAL])
    assert [it.id for it in replayed] == [last.id]


@usually_sqlite
async def test_a_status_that_is_written_alone_is_checked_too(filled: Filled) -> None:
    """For example where another transaction has the row."""
    assert await filled.hosts[1].claim("s1") == 2
    alone = filled.store._writes._alone
    status = _Status("s1", 9, CONNECTED, None)
    assert not await alone(status)
    assert await alone(replace(status, session_id="s2"))


@usually_sqlite
async def test_what_memory_keeps_is_read_again_when_it_is_forgotten(filled: Filled) -> None:
    first, second = filled.hosts
    known = InboxRecord(
        session_id="s1",
        workspace_id=1,
        key="people",
        kind=Kind.PEOPLE,
        at=1.0,
        events=(EventPayload("people", {}),),
        pairs=(("7@lid", "49170@c.us"),),
    )
    assert (await first.store.messages.people("s1")).number("7@lid") == "7@lid"
    await second.claim("s1")
    await second.store.messages.write([known])
    await first.claim("s1")
    assert (await first.store.messages.people("s1")).number("7@lid") == "7@lid"
    first.store.messages.forget(["s1"])
    assert (await first.store.messages.people("s1")).number("7@lid") == "49170@c.us"
