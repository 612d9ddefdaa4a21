"""One attempt to deliver a notice to a destination: by HTTP with the guard of webhooks, or by a child process."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from waguard.core.alerts import forms
from waguard.core.alerts.destinations import IN_CHILD, AlertDestination
from waguard.core.alerts.notice import Notice
from waguard.errors import printable
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks.sender import WebhookSender

WITHIN: Final = 15.0  # s for an attempt
_TIMINGS: Final = WebhookTimings(attempt=WITHIN, connect=10.0)
_WHY_LENGTH: Final = 200  # characters
CHILD: Final = (sys.executable, "-P", "-m", "waguard.messaging.alerts.child")


async def deliver(
    to: AlertDestination,
    notice: Notice,
    *,
    within: float = WITHIN,
    child: Sequence[str] = CHILD,
) -> str | None:
    """Deliver it once; why that failed, without a secret; None: the destination accepted it."""
    if to.kind in IN_CHILD:
        why = await _in_child(to, notice, within, child)
    else:
        wanted = forms.request(to, notice)
        async with sender() as http:
            answer = await http.post(wanted.url, wanted.body, wanted.headers)
        why = None if answer.accepted else answer.error
        if answer.status is not None and not answer.accepted:
            why = f"it answered {answer.status}"
    return why and printable(to.without_secrets(why))[:_WHY_LENGTH]


def sender() -> WebhookSender:
    """For addresses that the configuration names: whoever runs this machine chose them, private ones too."""
    return WebhookSender(lambda: True, timings=_TIMINGS)


async def _in_child(
    to: AlertDestination, notice: Notice, within: float, child: Sequence[str]
) -> str | None:
    """Have a process do it that may hang in a library; it is killed after ``within`` seconds."""
    job = msgspec.json.encode(forms.Job(destination=to, notice=notice, within=within))
    pipe = asyncio.subprocess.PIPE
    try:
        # in the daemon's own session: what is in another one is reaped as an orphan
        process = await asyncio.create_subprocess_exec(
            *child, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        return f"no process can be started for it: {error.strerror}"
    try:
        async with asyncio.timeout(within):
            out, _ = await process.communicate(job)
    except TimeoutError:
        return f"it took longer than {within:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    try:
        return msgspec.json.decode(out, type=str | None)
    except ValueError:
        return "the process that delivers it failed"
