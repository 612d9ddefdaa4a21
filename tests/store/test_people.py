"""Who is behind which LID, as memory has it while sessions come and go."""

from types import SimpleNamespace
from typing import Any

from waguard.store.people import Acquaintances


async def test_a_session_may_be_forgotten_while_those_of_others_are_read() -> None:
    """Another host has it since; the batch that it is in is written on, and says so itself."""
    people = Acquaintances()

    async def nothing(*_: Any) -> list[Any]:
        return []

    async def lost(*_: Any) -> list[Any]:
        people.forget(["s1"])
        return []

    reading: Any = SimpleNamespace(execute=nothing)
    known = await people.of(reading, "s1")
    losing: Any = SimpleNamespace(execute=lost)
    found = await people.of_all(losing, ("s1", "s2"))
    assert found.keys() == {"s1", "s2"}
    assert found["s1"] is known
    assert people.read("s1") is None
