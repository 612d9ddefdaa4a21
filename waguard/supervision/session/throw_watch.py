"""The sends of a session at which the page's own code threw: the page is unhealthy, whatever its socket says.

What WhatsApp or wa-js refuses is not counted here.
"""

from collections.abc import Callable
from typing import Final

from loguru import logger

from waguard.core.fleet.ack_watch import Late
from waguard.ports.clock import Clock

REMEMBERED: Final = 1_000  # chats a session
COUNTED_BY: Final = 10.0  # s; how long it lasts is no news each second


class ThrowWatch:
    """``since`` and ``note`` as ``AckWatch`` has them."""

    def __init__(
        self,
        session: str,
        clock: Clock,
        *,
        since: Callable[[], float | None],
        note: Callable[..., None],
    ) -> None:
        self._log = logger.bind(session=session)
        self._clock = clock
        self._since = since
        self._note = note
        self._chats: dict[str, str] = {}
        """Those that it threw at since a send was acknowledged, and what."""
        self._odd: dict[str, str] = {}
        """Chats that it threw at, where sends to others were acknowledged since: it may be the recipient's."""
        self._began = 0.0
        self._at = 0.0
        self._unhelped = False
        """The worker was replaced, and no send has been acknowledged since."""
        self.in_vain = False
        """The worker was replaced, and the new page threw as well."""
        self.began = 0.0
        """Unix time of the first."""

    def threw(self, chat: str, error: str) -> None:
        """At a send to this chat."""
        if self._odd.get(chat) == error or len(self._chats) >= REMEMBERED:
            return
        is_first, self._at = not self._chats, self._clock.monotonic()
        self._chats.pop(chat, None)  # the newest stands last
        self._chats[chat] = error
        self.in_vain = self._unhelped
        if is_first:
            self._began, self.began = self._at, self._clock.wall()
            why = str(self._late(0.0))
            self._log.warning("sends throw", event="sends_throw", condition="sends_throw", why=why)
            self._note("sends_throw", reason=why)

    def acknowledged(self, chat: str, began: float) -> None:
        """A send that began then (monotonic time): only one after the last throw proves anything."""
        if not self._chats or began < self._at:
            return
        self._odd |= {name: error for name, error in self._chats.items() if name != chat}
        while len(self._odd) > REMEMBERED:
            del self._odd[next(iter(self._odd))]
        self._end()
        self._log.info("sends are acknowledged", event="sends_back", condition="sends_throw")
        self._note("sends_back", reason="its page sends again")

    def forget(self) -> None:
        """Forget all: it is another pairing."""
        self._end()

    def replaced(self) -> None:
        """The worker is: one that threw had its chance, and another page has another code."""
        self._odd.clear()
        self._unhelped, self.in_vain = bool(self._chats), False

    def _end(self) -> None:
        self._chats.clear()
        self._unhelped = self.in_vain = False

    @property
    def threw_at(self) -> float | None:
        """Monotonic time of the last throw; None: none, or a later send was acknowledged."""
        return self._at if self._chats else None

    @property
    def on_trial(self) -> bool:
        """Whether its worker was replaced for that, and it is not known yet whether it helped."""
        return self._unhelped and not self.in_vain

    @property
    def late(self) -> Late | None:
        """Which sends it are, as the fleet weighs them; None: none, or it is not connected."""
        if not self._chats or (since := self._since()) is None:
            return None
        waited = self._clock.monotonic() - max(self._began, since)
        return self._late(waited // COUNTED_BY * COUNTED_BY)

    @property
    def shown(self) -> Late | None:
        """What threw on the page that the session has now; None also while nothing shows whether that one throws."""
        return None if self.on_trial else self.late

    @property
    def curable(self) -> Late | None:
        """What threw, where no replacement has met it yet."""
        return None if self._unhelped else self.late

    @property
    def words(self) -> str | None:
        """What is wrong; None: nothing, or it is not connected."""
        if (late := self.late) is None:
            return None
        return f"{late}; a new worker did not help" if self.in_vain else str(late)

    def _late(self, longest: float) -> Late:
        error = next(reversed(self._chats.values()))
        return Late(len(self._chats), longest, error)
