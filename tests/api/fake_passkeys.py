"""``ports.passkeys.Passkeys`` that does what a test says."""

from dataclasses import dataclass, field
from typing import Any

from tests.api.fake_sessions import FakeSessions
from waguard.errors import RefusedError, WaguardError
from waguard.ports.passkeys import PasskeyView, StartedPasskey


@dataclass
class FakePasskeys:
    """Of the sessions that the other fake knows. ``fail`` is raised by every call that changes something."""

    sessions: FakeSessions
    shown: PasskeyView = field(default_factory=PasskeyView)
    options: dict[str, Any] = field(default_factory=dict)
    expires_in: float = 599.6
    fail: WaguardError | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def view(self, session_id: str) -> PasskeyView:
        """See there."""
        await self.sessions.view(session_id)
        return self.shown

    async def _do(self, session_id: str, *call: Any) -> None:
        await self.sessions.view(session_id)
        self.calls.append(call)
        if self.fail:
            raise self.fail

    async def start(self, session_id: str, *, by: str) -> StartedPasskey:
        """See there."""
        await self._do(session_id, "start", by)
        return StartedPasskey(request="r", options=self.options, expires_in=self.expires_in)

    async def answer(self, session_id: str, request: str, assertion: object, *, by: str) -> None:
        """See there."""
        await self._do(session_id, "answer", request, assertion, by)
        if not isinstance(assertion, dict):
            raise RefusedError("not_an_object: it is no object", field="assertion")

    async def confirm(self, session_id: str, code: str, *, by: str) -> None:
        """See there."""
        await self._do(session_id, "confirm", code, by)

    async def cancel(self, session_id: str, request: str | None = None, *, by: str) -> None:
        """See there."""
        await self._do(session_id, "cancel", request, by)
