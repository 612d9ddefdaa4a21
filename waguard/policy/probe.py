"""From how long a layer has been silent to what is wrong, and whether to act."""

from dataclasses import dataclass

from waguard.policy.lifecycle import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds of silence that a layer is allowed."""

    start: float = 60.0
    """From the spawn to a ready page."""
    worker: float = 10.0
    """Between two heartbeats of a worker."""
    page: float = 30.0
    """Between two answers of a page."""
    link: float = 60.0
    """A page that answers but does not say how it stands with WhatsApp."""
    code: float = 150.0
    """A page that waits for a scan and shows no new code; the first lives 60 s, the others 20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Seconds since each layer was heard; None: never, or it does not apply."""

    state: State
    in_state: float
    worker: float | None
    page: float | None
    link: float | None = None
    """Since the link is unknown."""
    code: float | None = None
    """Since a new QR code came, or was due."""


def diagnose(limits: Limits, silence: Silence) -> str | None:
    """What is wrong in words, or None. Starting gates the others."""
    match silence.state:
        case State.STARTING if silence.in_state > limits.start:
            return f"not ready {limits.start:g} s after its start"
        case State.RUNNING if silence.worker is not None and silence.worker > limits.worker:
            return f"the worker has been silent for {silence.worker:.0f} s"
        case State.RUNNING if silence.page is not None and silence.page > limits.page:
            return f"the page has not answered for {silence.page:.0f} s"
        case State.RUNNING if silence.link is not None and silence.link > limits.link:
            return f"the page has not said for {silence.link:.0f} s how it stands with WhatsApp"
        case State.RUNNING if silence.code is not None and silence.code > limits.code:
            return f"the page has shown no new QR code for {silence.code:.0f} s"
        case _:
            return None
