"""What is shipped of one session's credentials: parts first, then a claim that names what belongs together."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from waguard.core.replace import replace
from waguard.core.shipping import FORMAT, PIECE, Claim, Part, Shipment
from waguard.errors import NotOwnedError
from waguard.profile import owner_mark, shipping
from waguard.profile.layout import Places
from waguard.profile.shipping import DiscontinuedError, Gathered, Known
from waguard.supervision.shipping.shipping_context import ShippingContext


class NotSharedError(Exception):
    """Why the credentials of a session are not shipped."""


class SupersededError(Exception):
    """The session's next worker is to be started: what has changed is shipped later."""


class LargeError(Exception):
    """There is more than one piece: those of all sessions are shipped one after the other."""


class SessionShipment:
    """``lock`` is held by whoever calls anything of it that waits."""

    def __init__(self, ctx: ShippingContext, at: Places) -> None:
        self._ctx = ctx
        self.at = at
        self.lock = asyncio.Lock()
        self.claim: Claim | None = None
        self._asked = False
        """Whether the database was asked for the claim."""
        self._known: dict[str, Known] | None = None
        """What was shipped; None: it has to be compared with what is there."""
        self._orphans: set[str] = set()
        """Ids of parts that no claim names."""
        self.life = 0
        """Counts the session's starts: what was begun before one of them is given up."""

    @property
    def name(self) -> str:
        """The session."""
        return self.at.session

    async def read_claim(self) -> Claim | None:
        """The claim as the database has it, before a start. Raises ``DatabaseUnavailableError``."""
        self.claim = await self._ctx.store.claim(self.name)
        self._asked, self._known = True, None
        return self.claim

    async def say(self, claim: Claim) -> None:
        """Have the database say so. Raises ``DatabaseUnavailableError``."""
        await self._commit(claim)

    async def forget(self) -> None:
        """Have nobody use what was shipped. Raises ``DatabaseUnavailableError``."""
        claim = self.claim if self._asked else await self.read_claim()
        if claim is None or claim.sealed is None:
            return
        await self._empty(replace(claim, pairing=None, sealed=None, orderly=False))

    async def leave(self) -> None:
        """Have nobody use what was shipped, nor a profile that was used before, on whatever host it lies. Raises
        ``DatabaseUnavailableError``."""
        note = self._ctx.new_note(self.name, await self.read_claim())
        # this time makes a copy of this host's profile an old one, too
        await self._empty(Claim(note=note, shipped_at=self._ctx.clock.wall()))

    async def _empty(self, claim: Claim) -> None:
        await self._commit(claim, gone=await self._ctx.store.files(self.name))
        self._known, self._orphans = None, set()

    async def ship(self, life: int, *, ended: bool, paced: bool, whole: bool = False) -> bool:
        """Ship what there is; whether anything is shipped of the session. ``ended``: after the end of its browser; ``paced``:
        at the rate of what is large, else that raises ``LargeError``; ``whole``: whatever its size.

        Raises ``NotSharedError``, ``SupersededError``, ``DatabaseUnavailableError``, and what ``profile.shipping`` raises.
        """
        at = self.at
        if self.life != life:
            raise SupersededError
        token = await asyncio.to_thread(owner_mark.pairing, at.profile)
        if not self._asked:
            await self.read_claim()
        if (
            token is None
        ):  # a code is shown: maybe for damage, so what was shipped stays until the next pairing
            return self.claim is not None and self.claim.sealed is not None
        claim = await self._claimed()
        orderly = ended and await asyncio.to_thread(shipping.ended_in_order, at.profile)
        orderly = orderly and not self._ctx.waits(self.name)
        with contextlib.ExitStack() as stack:
            known, gathered = await self._gather(claim, stack)
            if gathered.size > self._ctx.limit and not whole:
                size, limit = gathered.size >> 20, self._ctx.limit >> 20
                raise NotSharedError(f"its credentials have {size} MB, more than {limit} MB")
            is_same = not gathered.growths and len(gathered.same) == len(known)
            if is_same and (claim.pairing, claim.orderly) == (token, orderly):
                return True
            if not paced and sum(it.size for it in gathered.growths) > PIECE:
                raise LargeError
            parts = await self._put_pieces(claim, gathered, life)
        now_known = {**gathered.same, **{it.path: it.known() for it in gathered.growths}}
        shipment = Shipment(
            format=FORMAT,
            files={path: it.shipped() for path, it in now_known.items()},
            paired_at=await asyncio.to_thread(owner_mark.paired_at, at.profile),
            ended=(self._ctx.epoch(self.name) or 0) if orderly else 0,
        )
        epoch = claim.note.epoch
        sealed = await asyncio.to_thread(self._ctx.sealer.shipment, self.name, epoch, shipment)
        claim = replace(
            claim,
            pairing=token,
            sealed=sealed,
            sealed_epoch=epoch,
            shipped_at=self._ctx.clock.wall(),
            orderly=orderly and self.life == life,
        )
        before = self._orphans.union(it.id for it in known.values())
        gone = before.difference(it.id for it in now_known.values())
        await self._commit(claim, parts, gone)
        self._known, self._orphans = now_known, set()
        return True

    async def _commit(
        self, claim: Claim, parts: Sequence[Part] = (), gone: Collection[str] = ()
    ) -> None:
        # without an answer it may be written: what its parts hold now is asked before any is replaced
        self._asked, self._known = False, None
        await self._ctx.store.commit(self.name, claim, parts, gone)
        self.claim, self._asked = claim, True

    async def _claimed(self) -> Claim:
        """The claim of this host on the profile, which is made where there is none."""
        claim, before = self.claim, await asyncio.to_thread(shipping.read_note, self.at.profile)
        if claim and claim.note == before and before.host == self._ctx.host:
            return claim
        note = self._ctx.new_note(self.name, claim)
        # the note first: a claim without it would make this profile an old one
        await asyncio.to_thread(shipping.write_note, self.at.profile, note)
        claim = replace(claim, note=note, orderly=False) if claim else Claim(note=note)
        try:
            await self.say(claim)
        except NotOwnedError:  # with the note this profile would seem newer than its owner's
            await asyncio.to_thread(shipping.write_note, self.at.profile, before)
            raise
        self._known = None
        return claim

    async def _gather(
        self, claim: Claim, stack: contextlib.ExitStack
    ) -> tuple[dict[str, Known], Gathered]:
        """What is known of what was shipped, and what there is."""
        known = self._known
        if known is not None:
            try:
                return known, await self._read(known, stack)
            except DiscontinuedError:
                stack.close()
        known = self._known = await self._recognized(claim)
        try:
            return known, await self._read(known, stack)
        except DiscontinuedError as error:
            raise NotSharedError(f"{error} changes all the time") from None

    async def _read(self, known: dict[str, Known], stack: contextlib.ExitStack) -> Gathered:
        """``gather`` in a thread, which goes on where this is cut off: its files are closed when it ends."""
        files = contextlib.ExitStack()
        reading = asyncio.get_running_loop().run_in_executor(
            None, shipping.gather, self.at.profile, known, files
        )

        def close(ended: "asyncio.Future[Gathered]") -> None:
            files.close()
            ended.exception()  # nobody waits for it any more

        try:
            gathered = await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(close)
            raise
        except BaseException:
            files.close()
            raise
        stack.push(files)
        return gathered

    async def _recognized(self, claim: Claim) -> dict[str, Known]:
        known: dict[str, Known] = {}
        if claim.sealed is not None:
            shipment = self._ctx.sealer.shipment_of(self.name, claim)
            known = await asyncio.to_thread(shipping.recognized, self.at.profile, shipment)
        # also of what is there no more, and of what an attempt left that was cut off
        self._orphans = await self._ctx.store.files(self.name)
        return known

    async def _put_pieces(self, claim: Claim, gathered: Gathered, life: int) -> Sequence[Part]:
        """Store all parts but the last ones, which are returned, to be committed with the claim."""
        epoch, waiting, size = claim.note.epoch, list[Part](), 0
        for growth in gathered.growths:
            self._orphans.add(growth.id)
            while piece := await asyncio.to_thread(growth.next):
                part = await asyncio.to_thread(
                    self._ctx.sealer.part, self.name, epoch, growth.id, *piece
                )
                if waiting and size + len(part.sealed) > PIECE:
                    await self._put(waiting, size)
                    waiting, size = [], 0
                    if self.life != life:
                        raise SupersededError
                waiting.append(part)
                size += len(part.sealed)
        return waiting

    async def _put(self, parts: Sequence[Part], size: int) -> None:
        began = self._ctx.clock.monotonic()
        await self._ctx.store.put(self.name, parts)
        took = self._ctx.clock.monotonic() - began
        await asyncio.sleep(max(0.0, size / self._ctx.rate - took))
