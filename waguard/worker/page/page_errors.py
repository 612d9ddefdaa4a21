"""What goes wrong with WhatsApp's page: while it is loaded, and when it is asked for something."""

from collections.abc import Sequence
from typing import Final

from waguard.core.session.page_load import Refusal
from waguard.errors import WaguardError
from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    ElsewhereError,
    EvaluationError,
    TargetCrashedError,
)

NAMED_AT_MOST: Final = 10  # exports in one message


class PageNotReadyError(WaguardError):
    """WhatsApp's page did not become usable; the message says how far it came."""


class ExportsMissingError(PageNotReadyError):
    """wa-js cannot resolve what waguard uses of it: it does not fit this version of WhatsApp Web."""

    def __init__(self, names: Sequence[str]) -> None:
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        named = ", ".join(names[:NAMED_AT_MOST])
        super().__init__(
            f"wa-js cannot resolve {named}{more} in this version of WhatsApp Web",
            remedy="look for a newer wa-js (whatsapp.wajs)",
        )


class PageUnreachableError(WaguardError):
    """Nothing here is broken, and a restart cures nothing. ``refusal``: what WhatsApp, or the network
    on the way to its scripts, did instead of serving the page; None: no connection was made."""

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


class PageLoadingError(EvaluationError):
    """The page has no hook yet: it is just being loaded, by itself too, and nothing was evaluated."""

    TEXT: Final = "waguard: no hook"
    """What the page throws for it."""

    def __init__(self) -> None:
        super().__init__(self.TEXT)
        self.message = "the page is just being loaded"
        self.args = (self.message,)


PAGE_LOST: Final = (DevToolsClosedError, TargetCrashedError, ElsewhereError, PageLoadingError)
"""Errors that say nothing of what was asked for: another page, or worker, is asked for it again."""


class NotTransmittedError(WaguardError):
    """Nothing was sent: the same may safely be tried again."""


class NotSendableError(WaguardError):
    """Nothing was sent; ``reason`` is the hook's word: not_in_chat, no_whatsapp, asked_too_often, held,
    no_target, not_editable, not_ours, revoked, or no_chat with the page's error."""

    def __init__(self, reason: str, why: str | None = None) -> None:
        super().__init__(f"the page refused: {reason}")
        self.reason = reason
        self.why = why


class TooOftenError(WaguardError):
    """WhatsApp was asked too often (429)."""
