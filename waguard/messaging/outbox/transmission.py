"""One command to a session's page, and what came of it."""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
from loguru import logger

from waguard.core.messages.message_ids import GROUP
from waguard.core.messages.transfers import transfer_time
from waguard.core.metrics.families import SEND, SENDS
from waguard.core.phone_number import number_of
from waguard.errors import NoRoomError, NotFoundError, UnavailableError, WaguardError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.outbox.send_context import SendContext
from waguard.ports.outcomes import NotSent, Outcome, Uncertain, label_of
from waguard.wire.calls import SendFile


class Transmission:
    """What is known of sessions and people, put to the command."""

    def __init__(self, ctx: SendContext) -> None:
        self._ctx = ctx

    async def send(self, pending: PendingSend, *, wait: float) -> Outcome:
        """Send its command; wait at most ``wait`` s for the session."""
        clock, tally = self._ctx.clock.monotonic, self._ctx.tally
        began = clock()
        outcome = await self._send(pending, wait=wait)
        tally.add(SEND, clock() - began, label_of(outcome))
        tally.add(SENDS, 1, pending.kind, label_of(outcome))
        return outcome

    async def _send(self, pending: PendingSend, *, wait: float) -> Outcome:
        settings, command = self._ctx.config().send, pending.command
        assert command  # noqa: S101 - read before
        pending.command = None
        if isinstance(command, SendFile):
            try:
                path = await asyncio.to_thread(self._ctx.file, command.file)
            except UnavailableError as error:
                return NotSent(error)
            if path is None:
                pending.abandoned = _gone(command.file)
                return NotSent(pending.abandoned)
            command = msgspec.structs.replace(command, file=str(path))
        timeout = settings.timeout + transfer_time(pending.size)
        asked = settings.check_first_contact and not pending.is_action
        exists = await self._exists(pending) if asked else True
        call = msgspec.structs.replace(
            command,
            message_id=pending.message_id,
            timeout=timeout,
            first_contact_check=not exists,
            absent=exists is False,
            aliases=await self._aliases(pending, command.mentions),
        )
        try:
            async with asyncio.timeout(wait + timeout + self._ctx.timings.margin):
                return await self._ctx.sessions.send(
                    pending.session_id, call, wait=wait, phone=pending.phone
                )
        except asyncio.CancelledError:  # waguard stops; the next run looks for it
            pending.resolve(Uncertain())
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the message may have left
            logger.bind(session=pending.session_id).exception("send ended in a bug", event="bug")
            return Uncertain()

    async def bring_file(self, pending: PendingSend) -> None:
        """Have its file here, where it was left on another host of the cluster: before it begins, for that may take
        long. Raises ``UnavailableError``, ``NoRoomError``: it may come later, or be read; and what it is ``abandoned``
        for."""
        command, bring = pending.command, self._ctx.bring
        if not isinstance(command, SendFile):
            return
        if await asyncio.to_thread(self._ctx.file, command.file) or bring is None:
            return
        try:
            await bring(command.file)
        except (UnavailableError, NoRoomError) as error:
            logger.debug("a message waits for its file", why=error.message)
            rest = self._ctx.timings.file_rest
            pending.rests_until = asyncio.get_running_loop().time() + rest
            raise
        except WaguardError as error:
            pending.abandoned = error
        if pending.abandoned:  # maybe meanwhile
            raise pending.abandoned

    async def number(self, session_id: str) -> str | None:
        """Digits of the number that the session is linked to; None: to none."""
        return number_of((await self._ctx.sessions.view(session_id, elsewhere=True)).phone_number)

    async def _exists(self, pending: PendingSend) -> bool | None:
        """Whether its number is known to have WhatsApp; None: that has to be asked."""
        try:
            people = await self._ctx.journal.people(pending.session_id)
        except WaguardError:  # the database is away: then it is asked once more
            return None
        return people.exists(pending.chat, self._ctx.clock.wall())

    async def _aliases(
        self, pending: PendingSend, people: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """By what other ids a group may know those whom it is to mention."""
        if not people or not pending.chat.endswith(GROUP):
            return {}
        with contextlib.suppress(WaguardError):  # without the database the page knows most of them
            return (await self._ctx.journal.people(pending.session_id)).others(people)
        return {}


def _gone(name: str) -> NotFoundError:
    return NotFoundError(
        f"its file is not kept any more: {name}",
        field="media_sha256",
        remedy="upload the file again, and send it as a new message",
    )
