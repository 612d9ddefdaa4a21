"""What hosts and a table learn of each other's keys."""

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.cluster.shared_keys import is_seal, learned, seal, unsent, used
from waguard.core.issued_keys import IssuedKey, digest
from waguard.core.keys import Right
from waguard.core.replace import replace

NOW: Final = 1_790_000_000.0
IDS: Final = ("0000000a", "0000000b", "0000000c")


def key(name: str, key_id: str = IDS[0], **more: Any) -> IssuedKey:
    usual: dict[str, Any] = {
        "id": key_id,
        "name": name,
        "sha256": digest(name),
        "right": Right.READ,
        "workspaces": None,
        "sessions": None,
        "expires_at": None,
        "created_at": NOW,
        "created_by": "root by the socket",
    }
    return IssuedKey(**usual | more)


def by_id(*keys: IssuedKey) -> dict[str, IssuedKey]:
    return {it.id: it for it in keys}


REVOKED: Final[Any] = {"ended_at": NOW + 5, "ended_by": "ani"}
EXPIRED: Final[Any] = {"ended_at": NOW + 9}


def test_a_seal_stays_what_it_is() -> None:
    """A release before and after must know it."""
    said: dict[str, Any] = {"version": 1, "ended_at": NOW + 0.0004, "ended_by": "ani"}
    found = seal('{"id": "0000000a"}', **said, key=b"a key")
    assert found == "66d07c07f8dec01f7b6b6a4040e126dc8d39d6bfd1c97eae7006265aba106fe8"
    assert is_seal(found, found)
    assert not is_seal("ü", found)
    valid = seal('{"id": "0000000a"}', version=1, ended_at=None, ended_by=None, key=b"a key")
    others = [said | it for it in ({"version": 2}, {"ended_at": NOW + 1}, {"ended_by": None})]
    found_of_others = [seal('{"id": "0000000a"}', **it, key=b"a key") for it in others]
    assert len({found, valid, *found_of_others, seal("{}", **said, key=b"a key")}) == 6
    assert seal('{"id": "0000000a"}', **said, key=b"another key") != found


def test_what_the_table_has_is_known_then() -> None:
    assert learned({}, [key("a")]) == by_id(key("a"))
    assert unsent([key("a")], [key("a")]) == []


def test_what_the_table_lacks_is_written() -> None:
    assert unsent([], [key("a")]) == [key("a")]
    assert learned(by_id(key("a")), []) == by_id(key("a"))


def test_a_revocation_wins_whoever_made_it() -> None:
    here, there = key("a"), key("a", **REVOKED)
    assert learned(by_id(here), [there]) == by_id(there)
    assert learned(by_id(there), [here]) == by_id(there)
    assert unsent([here], [there]) == [there]
    assert unsent([there], [here]) == []
    later = key("a", ended_at=NOW + 8, ended_by="another")
    assert unsent([there], [later]) == [], "the first one stays"


def test_an_expiry_is_no_revocation() -> None:
    """A clock that runs ahead ends no key for all; what was revoked stays revoked for those who saw it expire."""
    expired = key("a", expires_at=NOW + 9, **EXPIRED)
    valid = key("a", expires_at=NOW + 9)
    assert unsent([valid], [expired]) == []
    assert learned(by_id(expired), [valid]) == by_id(expired)
    revoked = key("a", expires_at=NOW + 9, **REVOKED)
    assert learned(by_id(expired), [revoked]) == by_id(revoked)


def test_what_all_have_forgotten_does_not_come_back() -> None:
    assert unsent([], [key("a", **REVOKED), key("b", IDS[1], **EXPIRED)]) == []


def test_an_end_that_was_moved_back_stays_so() -> None:
    """A host whose clock was set back has an earlier one."""
    here, there = key("a", expires_at=NOW + 5), key("a", expires_at=NOW + 9)
    assert learned(by_id(here), [there]) == by_id(here)
    assert learned(by_id(there), [here]) == by_id(here)


def test_the_last_use_of_all() -> None:
    here, there = key("a", used_at=NOW + 5), key("a", used_at=NOW + 9)
    assert learned(by_id(here), [there]) == by_id(there)
    assert used([here], [there]) == {there.sha256: NOW + 9}
    assert used([key("a")], [here]) == {here.sha256: NOW + 5}
    assert used([there], [here, key("b", used_at=NOW)]) == {}


def test_the_same_key_of_two_hosts_is_one() -> None:
    """A file that was copied, and an id that another host has changed."""
    assert learned(by_id(key("a")), [key("a", IDS[1])]) == by_id(key("a", IDS[1]))


def test_two_keys_of_one_id_are_two() -> None:
    found = learned(by_id(key("a"), key("c", IDS[2])), [key("b")])
    assert found[IDS[0]].name == "b"
    assert sorted(it.name for it in found.values()) == ["a", "b", "c"]
    [other] = [it for it in found.values() if it.name == "a"]
    assert other.sha256 == digest("a")
    assert unsent([key("b")], found.values()) == [other, key("c", IDS[2])]


states = st.sampled_from([{}, REVOKED, EXPIRED])
some = st.dictionaries(st.sampled_from("abc"), states, max_size=3)


def keys(given_: Mapping[str, Mapping[str, Any]]) -> list[IssuedKey]:
    return [key(name, IDS["abc".index(name)], **state) for name, state in given_.items()]


@given(some, some, some)
def test_hosts_agree_after_each_has_written_and_read(
    one: Mapping[str, Any], two: Mapping[str, Any], rows: Mapping[str, Any]
) -> None:
    table = {it.sha256: it if it.ended_by else replace(it, ended_at=None) for it in keys(rows)}
    hosts = [by_id(*keys(one)), by_id(*keys(two))]
    for _ in range(2):
        for at, known in enumerate(hosts):
            hosts[at] = learned(known, table.values())
            table |= {it.sha256: it for it in unsent(list(table.values()), hosts[at].values())}
    hosts = [learned(known, table.values()) for known in hosts]
    for known in hosts:
        assert unsent(list(table.values()), known.values()) == []
    valid = [{it.name for it in known.values() if it.ended_at is None} for known in hosts]
    ended = [name for given_ in (one, two, rows) for name, it in given_.items() if it == REVOKED]
    assert not {*ended} & (valid[0] | valid[1] & {it.name for it in table.values()})
