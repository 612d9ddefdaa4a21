"""How long a worker waits for what. Tests pass shorter ones. Seconds."""

from typing import Final

from msgspec import Struct, field


class LoadTimings(Struct, frozen=True, kw_only=True):
    """Times of a page that is made ready; and ``loads``, the attempts in a row."""

    navigation: float = 30.0
    """For the document, and again for its load event."""
    modules: float = 10.0
    """A page with none of them is not WhatsApp's, or changed."""
    ready: float = 8.0
    """wa-js itself needs about 1 s after the modules are there."""
    resolve: float = 16.0
    """For wa-js to find in the page what waguard uses of it."""
    script: float = 15.0
    """For the page to run a script that was given to it."""
    injection_pauses: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Before each further injection; the last one repeats."""
    loads: int = 2


class Timings(Struct, frozen=True, kw_only=True):
    """Times of a worker's life."""

    lock: float = 3.0
    """A browser with much memory takes long to die, and holds the profile until then."""
    lock_poll: float = 0.02
    """That a flock is free has no event."""
    browser_exit: float = 1.0
    """In which a Chromium that closed its pipe can be seen to have exited."""
    first_page: float = 30.0
    """For the first page of a new browser."""
    load: LoadTimings = field(default_factory=LoadTimings)
    unreachable_retry: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    """Before each further load while there is no way to the page; the last one repeats."""
    read: float = 10.0
    """For one reading of the page, and a screenshot."""
    unread: float = 30.0
    """For a page that answers to be read again; then whether it is connected is unknown."""
    call: float = 15.0
    """For what the page is asked without a deadline of its own."""
    media: float = 15.0
    """For a file that comes with its message; after that it comes later."""
    probe: float = 5.0
    """For an answer of browser and page to a probe."""
    evidence_after: float = 2.0
    """Without an answer; all of /proc is read for it."""
    end_script: float = 0.5
    """To end a page's script, which takes 2 ms; the next heartbeat must not wait for it."""
    find: float = 3.0
    """For a message to be found in its chat."""
    first_contact_check: float = 5.0
    """For whether a number has WhatsApp; without an answer it is sent."""
    backfill_pauses: tuple[float, ...] = (1.0, 3.0)
    fresh_pause: float = 0.5
    """After a pairing, behind each chat that is read back: a person does not open all at once."""
    """Before what failed is tried again; of one chat in all."""
    hello: float = 5.0
    """A local daemon greets at once."""
    hang_up: float = 1.0
    """For what was said to be on its way; a daemon that is stopped reads nothing more."""
    final_flush: float = 2.0
    """For the daemon to store the last events; the rest is handed over."""


TIMINGS: Final = Timings()
