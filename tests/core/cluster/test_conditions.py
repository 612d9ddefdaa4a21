"""What people should know of the hosts."""

from tests.core.cluster.hosts import TERMS, dead, found
from waguard.core.blame import Blame, Condition
from waguard.core.cluster import session_owner
from waguard.core.cluster.conditions import (
    HOST_MISSING,
    HOSTS_DIFFER,
    NO_ROOM,
    conditions,
    own_conditions,
)
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_state import OwnerState
from waguard.core.cluster.records import FORMAT, Found
from waguard.core.cluster.shared_settings import digests, wajs_of
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

OWNER = session_owner.begin("a", frozenset())


SETTINGS = digests(b"key", {"webhook.url": "http://app"})


def why(kind: str, *peers: Found, owner: OwnerState = OWNER) -> str | None:
    view = LeaseView(
        host="a",
        incarnation="one",
        held_since=1.0,
        newer_format=False,
        peers={it.record.host: it for it in peers},
    )
    return conditions(view, TERMS, owner, Moment(100.0), SETTINGS)[kind]


def test_a_host_that_was_not_taken_out_in_order_is_missing() -> None:
    assert why(HOST_MISSING, found("b", "x")) is None
    assert why(HOST_MISSING, dead(found("b", "x", drain=True))) is None
    said = why(HOST_MISSING, dead(found("c", "y")), dead(found("b", "x")))
    assert said == "b, c are down and not taken out in order; other hosts take the sessions over"


def test_no_host_has_room() -> None:
    waits = replace(OWNER, free_since={"s0": 50.0, "s1": 99.0})
    full = found("b", "x", room=0)
    assert why(NO_ROOM, full, owner=waits) == "1 session stays without a host: none has room"
    assert why(NO_ROOM, found("b", "x", room=1), owner=waits) is None
    assert why(NO_ROOM, full, owner=replace(waits, room=1)) is None
    assert why(NO_ROOM, full) is None


def test_a_host_cannot_be_emptied() -> None:
    drained = replace(OWNER, drain=True, owned={"s0": 1, "s1": 1})
    assert why(NO_ROOM, owner=drained) == "2 sessions stay here: no other host has room"
    assert why(NO_ROOM, owner=replace(drained, owned={})) is None
    assert why(NO_ROOM, found("b", "x"), owner=drained) is None


def test_hosts_differ() -> None:
    assert why(HOSTS_DIFFER, found("b", "x"), found("c", "y", lasts=10.0)) is None
    newer = why(HOSTS_DIFFER, found("b", "x", format=FORMAT + 1))
    assert newer == "b is of a newer waguard: until this one is upgraded it claims no session"
    other = why(HOSTS_DIFFER, found("b", "x", lasts=60.0), dead(found("c", "y", lasts=5.0)))
    assert other == "b is configured with another `cluster.lease` than 10 s here"


def test_hosts_with_other_settings_differ() -> None:
    same, other = SETTINGS, digests(b"key", {"webhook.url": "http://another"})
    assert why(HOSTS_DIFFER, found("b", "x", settings=same), found("c", "y")) is None
    said = why(HOSTS_DIFFER, found("b", "x", settings=other), found("c", "y", settings=other))
    assert said == "b, c have another `webhook.url` than this host"
    assert why(HOSTS_DIFFER, dead(found("b", "x", settings=other))) is None, "it runs nothing"


def test_with_another_key_nothing_else_is_compared() -> None:
    other = digests(b"another key", {"webhook.url": "http://app"})
    said = why(HOSTS_DIFFER, found("b", "x", settings=other))
    assert said == "b has another `cluster.key_file` than this host"


def test_what_another_version_does_not_say_is_not_compared() -> None:
    newer = digests(b"key", {wajs_of("2.0"): "0123"})
    assert why(HOSTS_DIFFER, found("b", "x", settings=newer)) is None


def test_many_hosts_that_differ_are_not_all_named() -> None:
    other = digests(b"key", {"webhook.url": "http://another"})
    said = why(HOSTS_DIFFER, *(found(f"b{it}", "x", settings=other) for it in range(5)))
    assert said == "b0, b1, b2 and 2 more have another `webhook.url` than this host"


def test_a_digest_says_nothing_of_its_value() -> None:
    assert digests(b"key", {"a": "x"})["a"] != digests(b"another", {"a": "x"})["a"]
    assert "hidden" not in str(digests(b"key", {"webhook.secret_file": "hidden"}))


def test_what_a_host_says_of_itself() -> None:
    def condition(kind: str, session: str | None = None) -> Condition:
        return Condition(
            type=kind,
            session=session,
            blame=Blame.HOST,
            reason=kind,
            message="it is so",
            since=1.0,
            remedy="",
        )

    conditions = [
        condition("webhooks_down"),
        condition("disk_low"),
        condition("host_missing"),
        condition("browser_outdated"),  # waguard ends it by itself
        condition("parked", "s1"),
    ]
    assert own_conditions(conditions) == ("disk_low", "webhooks_down")
