"""Questions to one session's page about its chats, people and groups, and changes of its groups."""

from typing import Final

from waguard.errors import ConflictError, UnavailableError
from waguard.supervision.session.answers import error_of
from waguard.supervision.session.whatsapp_quotas import Limits
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire.calls import Ask, Failed, Value

AT_ONCE: Final = 4
LOOKUPS: Final = frozenset({"create", "numbers"})
"""Questions for which WhatsApp may be asked whether numbers exist."""
HELD: Final = LOOKUPS | {"add", "picture"}
"""None of these while WhatsApp has been asked too often."""
RETRY_AFTER: Final = 2.0  # s


class Asking:
    """Places of their own: a page that is slow to answer holds up neither sends nor other sessions' questions."""

    def __init__(self, session: str, limits: Limits) -> None:
        self._session = session
        self._limits = limits
        self._under_way = 0
        self._checks_numbers = False
        self.answers = False
        """Whether the worker knows such questions."""

    async def ask(self, link: WorkerLink, call: Ask) -> Value:
        """Have it answered now. Raises ``WaguardError``; ``UncertainError`` for a change that may have been done."""
        if not self.answers:
            raise ConflictError(
                "the session's worker is of an earlier version, which cannot answer this",
                remedy=f"`waguard sessions restart {self._session}` replaces it",
            )
        if self._under_way >= AT_ONCE:
            raise UnavailableError(
                f"{AT_ONCE} questions to this session are under way",
                remedy="try again",
                retry_after=RETRY_AFTER,
            )
        self._under_way += 1
        try:
            if call.name in HELD:
                self._require_no_pause()
            is_lookup = call.name in LOOKUPS
            answer = await (self._check_numbers(link, call) if is_lookup else link.ask(call))
        finally:
            self._under_way -= 1
        if not isinstance(answer, Failed):
            return answer
        if answer.kind == "too_often":
            self._limits.asked_too_often()
            raise UnavailableError(answer.error, retry_after=self._limits.paused_for)
        raise error_of(answer)

    async def _check_numbers(self, link: WorkerLink, call: Ask) -> Value | Failed:
        """One at a time."""
        if self._checks_numbers:
            raise UnavailableError(
                "numbers are being looked up", remedy="try again", retry_after=RETRY_AFTER
            )
        self._checks_numbers = True
        try:
            return await link.ask(call)
        finally:
            self._checks_numbers = False

    def _require_no_pause(self) -> None:
        if pause := self._limits.pause:
            raise UnavailableError(str(pause), retry_after=self._limits.paused_for)
