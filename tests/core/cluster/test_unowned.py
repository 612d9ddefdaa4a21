"""Why a session has no host, in words."""

from tests.core.cluster.hosts import dead, found, row
from waguard.core.cluster import session_owner
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_state import OwnerState
from waguard.core.cluster.records import Found, Owner
from waguard.core.cluster.unowned import Unowned, unowned
from waguard.core.replace import replace

SOON = "a host takes it over within seconds"
NO_ROOM = "no host has room for it"


def state(it: Owner, **changes: object) -> OwnerState:
    known = replace(
        session_owner.begin("a", frozenset()),
        rows={it.session: it},
        free_since={it.session: 70.0},
        room=1,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def words(of: OwnerState, *peers: Found, held: bool = True) -> str:
    view = LeaseView(
        host="a",
        incarnation="one",
        held_since=1.0 if held else None,
        newer_format=False,
        peers={it.record.host: it for it in peers},
    )
    [(_, it)] = unowned(of, view, 100.0).items()
    assert it == Unowned(30.0, it.why)
    return it.why


def test_how_it_lost_its_owner() -> None:
    gone = row("s", "b", "x")
    assert words(state(row("s"))) == f"no host has had it yet; {SOON}"
    assert words(state(row("s", epoch=4))) == f"its host has released it; {SOON}"
    assert words(state(row("s", epoch=4, to_host="c"))) == f"it is on its way to c; {SOON}"
    assert words(state(gone)) == f"its host b has no lease; {SOON}"
    assert words(state(gone), dead(found("b", "x"))) == f"its host b is down; {SOON}"
    new = f"has lost its lease, and has a new one; {SOON}"
    assert words(state(gone), found("b", "y")) == f"its host b {new}"
    assert words(state(row("s", "a", "zero"))) == f"its host a {new}"


def test_what_it_waits_for() -> None:
    full = state(row("s"), room=0)
    assert words(full, found("b", "x", room=1)).endswith(SOON)
    assert words(full, found("b", "x", room=0)).endswith(NO_ROOM)
    assert words(state(row("s")), held=False).endswith(NO_ROOM)
    drained = state(row("s"), drain=True)
    assert words(drained, found("b", "x", drain=True)).endswith("every host is being emptied")
    assert words(drained, found("b", "x", room=0)).endswith(NO_ROOM)
