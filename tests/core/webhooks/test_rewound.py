"""The database is put back to an older state of itself under a delivery queue."""

import random

import pytest

from tests.core.webhooks.queues import item
from tests.core.webhooks.test_owned import Host, numbers
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import READY
from waguard.core.webhooks.facts import (
    Acquired,
    Attempt,
    Leaving,
    Poked,
    ReadyExpected,
    Rewound,
    Save,
)
from waguard.core.webhooks.state import EXPECTED, NOT_ANNOUNCED, Owned


def rewind(host: Host) -> None:
    """As the shell: what was delivered is recorded first, and what was under way is cut off."""
    while saves := [it for it in host.open if isinstance(it, Save)]:
        host.answer(saves[0])
    host.open.clear()
    host.post(Rewound())


def test_what_comes_with_ids_that_were_read_is_read() -> None:
    host = Host()
    host.acquire("a")
    host.insert(*(item(number) for number in range(1, 9)))
    host.post(Poked())
    host.run()
    host.insert(item(3), item(4, "2@c.us"))
    host.post(Poked())
    host.run()
    assert sorted(host.rows) == [3, 4], "they are below what was read"
    rewind(host)
    host.run()
    assert numbers(host.sent)[8:] == [3, 4]
    assert host.queue.idle


def test_a_host_that_had_lost_all_sessions_reads_what_comes_with_such_ids() -> None:
    """As where the database has the hosts' leases, which are older, too; nothing that was received shows it."""
    host = Host()
    host.acquire("a", "b")
    host.insert(*(item(number) for number in range(1, 9)))
    host.post(Poked())
    host.run()
    for session in ("a", "b"):
        host.lose(session)
    host.insert(item(3))
    host.acquire("a")
    host.run()
    host.insert(item(4))
    host.post(Poked())
    host.run()
    assert numbers(host.sent)[8:] == [3, 4]
    assert host.queue.idle


def test_a_result_that_comes_late_is_of_nobody() -> None:
    host = Host()
    host.acquire("a")
    host.insert(item(1), item(2))
    host.post(Poked())
    while not any(isinstance(it, Attempt) for it in host.open):
        host.answer(host.open[0])
    host.answer(next(it for it in host.open if isinstance(it, Attempt)))
    save = next(it for it in host.open if isinstance(it, Save))
    host.open = [save]  # it came meanwhile
    host.post(Rewound())
    host.answer(save)
    host.run()
    assert numbers(host.sent) == [1, 2]
    assert host.queue.idle


def test_a_ready_that_is_on_its_way_still_comes_first() -> None:
    host = Host()
    host.acquire("a")
    host.run()
    host.post(ReadyExpected(session="a"))
    host.insert(item(5))
    rewind(host)
    host.run()
    assert dict(host.queue.announced) == {"a": EXPECTED}
    [held] = host.queue.all_held()
    assert held.why == NOT_ANNOUNCED
    host.insert(item(6, "", event=READY))
    host.post(Poked())
    host.run()
    assert numbers(host.sent) == [6, 5]


def test_a_ready_that_was_read_and_is_gone_is_not_waited_for() -> None:
    host = Host()
    host.acquire("a")
    host.insert(item(5, "", event=READY))
    host.post(Poked())
    host.answer(host.open[0])
    host.rows.clear()
    host.insert(item(1))
    rewind(host)
    host.run()
    assert numbers(host.sent) == [1]


def test_a_session_that_is_being_read_or_leaves_stays_so() -> None:
    host = Host()
    host.acquire("a", "b")
    host.run()
    host.post(Acquired(session="c"))
    host.post(Leaving(session="b"))
    host.insert(item(1, session="b"), item(2, session="c"), item(3))
    rewind(host)
    host.run()
    assert dict(host.queue.owned or {}) == {
        "a": Owned.HERE,
        "b": Owned.LEAVING,
        "c": Owned.HERE,
    }
    assert sorted(numbers(host.sent)) == [2, 3]


@pytest.mark.parametrize("seed", range(60))
def test_whenever_it_happens_all_that_is_there_is_delivered(seed: int) -> None:
    chance, host, number, given = random.Random(seed), Host(), 0, dict[str, int]()
    host.acquire("a", "b")
    for step in range(120):
        match chance.randrange(8):
            case 0:
                host.rows = dict(list(host.rows.items())[: chance.randrange(4)])
                number = max(host.rows, default=0)
                given = {it.event_id: it.id for it in host.rows.values()}
                rewind(host)
            case 1 | 2 | 3:
                number += 1
                chat, session = f"{chance.randrange(4)}@c.us", chance.choice("ab")
                host.insert(replace(item(number, chat, session), event_id=f"{step}"))
                given[f"{step}"] = number
                host.post(Poked())
            case _ if host.open:
                host.answer(chance.choice(host.open))
            case _:
                pass
    host.run()
    assert host.rows == {}
    assert host.queue.idle
    assert given.keys() <= {it.event_id for it in host.sent}
