"""An entry of the audit log, and an incident, which is made of entries. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field


class Entry(Protocol):
    """One entry of the audit log, as far as incidents need it. ``at`` is unix time."""

    @property
    def at(self) -> float | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def before(self) -> str | None: ...
    @property
    def after(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def evidence(self) -> Mapping[str, Any]: ...


class Incident(Struct):
    """``began`` and ``ended`` in unix time; ``ended`` None: it still goes on."""

    began: float
    cause: str
    actions: list[str] = field(default_factory=list)
    result: str | None = None
    ended: float | None = None
    advice: str | None = None
    pause: tuple[float, str] | None = None
    """The longest pause before a restart in seconds, and the blame of the failure before it."""
    kind: str = ""
    """The kind of the entry that it began with; empty: its session lost the connection, and has to be connected again."""
