"""What can go wrong between a worker and its Chromium, one class for each thing to do about it."""

from typing import Final

from pyppeteer.errors import NetworkError

from waguard.core.exits import EXIT_USAGE
from waguard.errors import WaguardError

THROWN_LIMIT: Final = 2_000  # characters; it goes into logs and answers


class BrowserArgumentError(WaguardError):
    """An extra argument of the browser would break what a worker relies on."""

    code = EXIT_USAGE


class ProfileUnusableError(WaguardError):
    """A folder that the browser needs cannot be created or written: a person has to repair it."""


class BrowserStartError(WaguardError):
    """Chromium ended or stayed silent before it could be used.

    ``returncode`` is its exit code, negative for a signal, ``None`` when it had to be killed.
    """

    def __init__(
        self,
        message: str,
        *,
        returncode: int | None = None,
        field: str | None = None,
        value: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, field=field, value=value, remedy=remedy)
        self.returncode = returncode


class BrowserUnusableError(BrowserStartError):
    """Chromium cannot be executed, or does not start with any profile: the host's fault, and no session's."""


class BrowserKilledError(BrowserStartError):
    """Chromium was killed from outside, as by the kernel for memory: no fault of the profile."""


class ProfileLockedError(BrowserStartError):
    """Chromium refused the profile because, as it sees it, another one is using it."""


class DevToolsError(WaguardError, NetworkError):  # type: ignore[misc]  # pyppeteer has no types
    """A call that Chromium refused; the base of the errors below.

    It is a pyppeteer ``NetworkError`` too, because pyppeteer's own objects catch that one.
    """

    def __init__(
        self, message: str, *, method: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.method = method


class DevToolsClosedError(DevToolsError):
    """The browser, or the page or document that was asked, is gone: the call may or may not have been done."""


class TargetCrashedError(DevToolsError):
    """The page's renderer crashed: the call may or may not have been done."""


class DevToolsTimeoutError(DevToolsError):
    """No answer before the deadline: the call may still be done."""


class EvaluationError(WaguardError):
    """The page's own code threw; ``text`` is the exception as JavaScript shows it, bounded."""

    def __init__(self, text: str) -> None:
        text = text[:THROWN_LIMIT].encode(errors="replace").decode()
        super().__init__(f"the page threw {text}")
        self.text = text


class ElsewhereError(EvaluationError):
    """The page has left the place that it is kept to: nothing was evaluated."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self.message = f"the page navigated to {self.text}"
        self.args = (self.message,)

    @property
    def is_nowhere(self) -> bool:
        """Whether Chromium shows a page of its own, as it does where one cannot be loaded: that is nobody's."""
        return self.text == "null"


class NavigationError(WaguardError):
    """The page is not where it was sent; ``reason`` is Chromium's word or the origin it shows."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot open {url}: {reason}", field="url", value=url)
        self.reason = reason
