"""What the API asks of linkings that WhatsApp confirms with the account's passkey."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct

from waguard.core.passkey_link import PasskeyStage


class PasskeyView(Struct, frozen=True, kw_only=True):
    """How far the linking is. Unix times; nothing of a request or an answer."""

    stage: PasskeyStage | None = None
    """None: no linking of the session needs a passkey."""
    until: float | None = None
    """When the stage ends."""
    expires_in: float | None = None
    """Seconds until then."""
    unattended_until: float | None = None
    """Until when WhatsApp needs no code that a person compares."""
    code: str | None = None
    """The code to compare with the phone's."""
    error: str | None = None
    """The page's word, where it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedPasskey:
    """The request for the browser that signs."""

    request: str = field(repr=False)
    """The id of the request."""
    options: dict[str, Any] = field(repr=False)
    """``PublicKeyCredentialRequestOptionsJSON``."""
    expires_in: float
    """Seconds."""


class Passkeys(Protocol):
    """``by`` says who, for the audit log. Every call raises as those of ``ports.sessions.Sessions`` for an unknown
    session, and ``ConflictError`` where the linking is not that far, or not any more."""

    async def view(self, session_id: str) -> PasskeyView:
        """How far it is."""

    async def start(self, session_id: str, *, by: str) -> StartedPasskey:
        """Have the page ask for the passkey; who starts again gets the request that is held."""

    async def answer(self, session_id: str, request: str, assertion: object, *, by: str) -> None:
        """Give the page this ``AuthenticationResponseJSON``. Raises ``RefusedError`` for one that must not reach it."""

    async def confirm(self, session_id: str, code: str, *, by: str) -> None:
        """Confirm the code that a person has compared. Raises ``RefusedError`` for another one than the page's."""

    async def cancel(self, session_id: str, request: str | None = None, *, by: str) -> None:
        """Refuse the request that is held. ``request``: only where it is this one."""
