"""All parts of an owned session, in their order."""

from collections.abc import Collection

import pytest

from waguard.errors import UnavailableError
from waguard.supervision.cluster.owned_parts import OwnedParts


class Part:
    """Writes down what it is asked."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name = name
        self._asked = asked
        self.stays = False

    async def acquire(self, sessions: Collection[str]) -> None:
        self._asked.append(f"{self._name} acquires {', '.join(sessions)}")

    async def release(self, session: str) -> None:
        self._asked.append(f"{self._name} releases {session}")
        if self.stays:
            raise UnavailableError("it stays", retry_after=60)

    async def lose(self, sessions: Collection[str]) -> None:
        self._asked.append(f"{self._name} loses {', '.join(sessions)}")


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def parts(asked: list[str]) -> OwnedParts:
    made = OwnedParts()
    made.stopping = lambda: False
    made.running, made.journal = Part("session", asked), Part("journal", asked)
    made.others = (Part("webhooks", asked), Part("outbox", asked))
    return made


async def test_what_stores_its_reports_is_there_before_it_runs_and_after_it_has_ended(
    parts: OwnedParts, asked: list[str]
) -> None:
    await parts.acquire(["s"])
    assert [it.partition(" ")[0] for it in asked] == ["journal", "webhooks", "outbox", "session"]
    asked.clear()
    await parts.release("s")
    assert [it.partition(" ")[0] for it in asked] == ["webhooks", "outbox", "session", "journal"]
    asked.clear()
    await parts.lose(["s"])
    assert [it.partition(" ")[0] for it in asked] == ["webhooks", "outbox", "session", "journal"]


async def test_one_that_cannot_leave_goes_on_with_all_of_its_parts(
    parts: OwnedParts, asked: list[str]
) -> None:
    parts.running.stays = True  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError):
        await parts.release("s")
    assert asked[3:] == ["journal acquires s", "webhooks acquires s", "outbox acquires s"]


async def test_one_that_cannot_leave_goes_on_with_nothing_where_the_daemon_ends(
    parts: OwnedParts, asked: list[str]
) -> None:
    parts.running.stays = True  # type: ignore[attr-defined]
    parts.stopping = lambda: True
    with pytest.raises(UnavailableError):
        await parts.release("s")
    assert asked[3:] == []
