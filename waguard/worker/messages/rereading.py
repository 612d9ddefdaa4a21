"""Messages that could not be decrypted are looked up by their ids: nothing but that finds those that
became readable without an event."""

from collections.abc import Awaitable, Callable

from loguru import logger

from waguard.core.messages.undecryptable import Outcome
from waguard.errors import WaguardError
from waguard.wire.calls import Reread
from waguard.worker.messages.inbound import Inbound
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import PAGE_LOST


async def reread(
    page: WhatsAppPage, asked: Reread, inbound: Inbound, room: Callable[[], Awaitable[None]]
) -> dict[str, str]:
    """What was found of each, an ``Outcome``. ``room`` waits until the daemon has stored enough.

    One that cannot be looked up costs no other. Raises ``WaguardError`` where the page is lost.
    """
    found: dict[str, str] = {}
    for message_id in asked.ids:
        await room()
        outcome = await _one(page, message_id, asked.aliases.get(message_id, ()), inbound)
        found[message_id] = str(outcome)
    return found


async def _one(
    page: WhatsAppPage, message_id: str, aliases: tuple[str, ...], inbound: Inbound
) -> Outcome:
    try:
        reported = await page.message(message_id, aliases)
        return Outcome.GONE if reported is None else await inbound.decrypted(reported, page)
    except PAGE_LOST:
        raise
    except WaguardError as error:
        logger.warning(
            "a message could not be looked up",
            event="message_not_read",
            id=message_id,
            why=error.line(),
        )
    except Exception as error:  # noqa: BLE001 - one odd message must not cost the others
        logger.opt(exception=error).critical(
            "a bug in waguard", event="bug", task="look up a message"
        )
    return Outcome.FAILED
