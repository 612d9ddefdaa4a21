"""Whether a receiver works, and how many deliveries to it are tried at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from waguard.core.webhooks import circuit
from waguard.core.webhooks.circuit import CLOSED, Circuit
from waguard.core.webhooks.delivery import Answer, DeliveryPolicy, Retry
from waguard.messaging.webhooks.delivery_context import DeliveryContext


@dataclass(frozen=True, slots=True)
class Failing:
    """No attempt has worked since then (unix time)."""

    since: float
    error: str
    """Of the last one."""


class ReceiverCircuit:
    """Of one endpoint. ``half_open`` is called when a probe may be tried."""

    def __init__(self, endpoint: str, ctx: DeliveryContext, half_open: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._ctx = ctx
        self._half_open = half_open
        self.state: Circuit = CLOSED
        self.failing: Failing | None = None
        """None: the last attempt has worked."""
        self.probe: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Probe no more."""
        if self.probe:
            self.probe.cancel()

    def places(self, most: int) -> int:
        """How many deliveries may be in flight now."""
        return circuit.places(self.state, now=asyncio.get_running_loop().time(), most=most)

    def await_probe(self) -> None:
        """Deliveries wait, and none may be tried: check again when the pause is over."""
        until = self.state.opened_until
        if until is not None and self.probe is None:
            self.probe = asyncio.get_running_loop().call_at(until, self._probe)

    def _probe(self) -> None:
        self.probe = None
        self._half_open()

    def works(self) -> None:
        """The receiver understood a request."""
        before, self.failing = self.state, None
        self.state = circuit.worked(before, now=asyncio.get_running_loop().time())
        if self.state is not CLOSED:
            return
        if before.opened_until is not None:
            logger.debug("the receiver works again", endpoint=self._endpoint)
        if self.probe:
            self.probe.cancel()
            self.probe = None

    def fails(self, policy: DeliveryPolicy, answer: Answer) -> None:
        """It did not."""
        before = self.state.trips
        since = self.failing.since if self.failing else self._ctx.wall()
        self.failing = Failing(since, answer.summary())
        self.state = circuit.failed(
            policy.circuit,
            self.state,
            now=asyncio.get_running_loop().time(),
            jitter=self._ctx.chance.random(),
            answers=answer.status is not None,
        )
        if before == 0 and self.state.trips:
            logger.debug(
                "the receiver fails: one delivery is tried at a time", endpoint=self._endpoint
            )

    def delay(self, policy: DeliveryPolicy, retry: Retry, answer: Answer) -> float:
        """Seconds until the same webhook is tried again. An open circuit is the receiver's fault: a
        message waits for that, and not longer."""
        if retry.everyone:
            until = asyncio.get_running_loop().time() + retry.delay
            self.state = circuit.quiet(self.state, until=until)
            return 0.0
        self.fails(policy, answer)
        return retry.delay if retry.asked or self.state.opened_until is None else 0.0
