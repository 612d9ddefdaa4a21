"""Before a start: have the newest credentials of a session in its profile, which nobody uses."""

import asyncio
import contextlib
from pathlib import Path

from loguru import logger

from waguard.core import shipping as policy
from waguard.core.replace import replace
from waguard.core.shipping import Claim, Decision, LayDown, Local, Newer, Retire, Scan, Use
from waguard.host.small_file import UnreadableError
from waguard.profile import shipping, staging
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.supervision.shipping.session_shipment import SessionShipment
from waguard.supervision.shipping.shipping_context import ShippingContext


async def prepare(ctx: ShippingContext, it: SessionShipment, *, unpaired: bool) -> str | None:
    """Why a person has to decide first; None: nobody has to. ``unpaired``: see ``CredentialShipping``.

    Raises ``DatabaseUnavailableError``, ``UnreadableError``, ``WaguardError``, ``OSError``; then the start has to wait: what
    cannot be read is not empty.
    """
    claim, local = await it.read_claim(), await asyncio.to_thread(shipping.local, it.at)
    decision = policy.decide(claim, local, ctx.host)
    if unpaired and not (isinstance(decision, Use) and local.paired):
        # what is shared is of a pairing that was logged out, and nobody has deleted it then
        await it.forget()
        claim = it.claim
        decision = policy.decide(claim, local, ctx.host)
    elif claim and claim.sealed is not None and not unpaired:
        decision = await _compared(ctx, it, claim, local, decision)
    match decision:
        case Newer():
            assert claim  # noqa: S101 - decide promises it
            return policy.newer_words(claim, local)
        case Use():
            if claim and claim.orderly:  # from now on there is something newer
                await it.say(replace(claim, orderly=False))
        case Scan():
            said = "no credentials are shared: the session waits for a scan"
            logger.warning(said, event="credentials_missing", session=it.name)
        case Retire():
            moved = await asyncio.to_thread(_retire, it.at)
            logger.warning(
                "the profile is quarantined: another host has used the session since",
                event="profile_outdated",
                session=it.name,
                folder=str(moved),
            )
        case LayDown(rolled_back=rolled_back):
            assert claim  # noqa: S101 - decide promises it
            await _lay_down(ctx, it, claim, rolled_back=rolled_back)
    return None


async def hand_over(ctx: ShippingContext, it: SessionShipment, *, ran: bool, paced: bool) -> None:
    """Ship all of a profile that nobody uses, for the session's next host, whatever its size. Where this host's is not the
    newest, nothing is shipped. ``ran``: it has run here; ``paced``: see ``SessionShipment.ship``, which also says what
    is raised."""
    claim, local = await it.read_claim(), await asyncio.to_thread(shipping.local, it.at)
    decision = policy.decide(claim, local, ctx.host)
    if not ran and claim and claim.sealed is not None:
        decision = await _compared(ctx, it, claim, local, decision)
    if isinstance(decision, Use) and local.paired:
        await it.ship(it.life, ended=True, paced=paced, whole=True)


async def _compared(
    ctx: ShippingContext, it: SessionShipment, claim: Claim, local: Local, decision: Decision
) -> Decision:
    """What is decided once the files are seen, too."""
    if isinstance(decision, Newer):
        shipment = ctx.sealer.shipment_of(it.name, claim)
        # cut off after it was laid down, and before that was said
        if await asyncio.to_thread(shipping.is_as_shipped, it.at.profile, shipment):
            return LayDown(rolled_back=not claim.orderly)
    elif isinstance(decision, Use) and local.written_at < claim.shipped_at:
        with contextlib.suppress(UnreadableError):  # nor can it be replaced
            shipment = ctx.sealer.shipment_of(it.name, claim)
            if await asyncio.to_thread(shipping.is_from_before, it.at.profile, shipment):
                return LayDown(rolled_back=True)
    return decision


async def _lay_down(
    ctx: ShippingContext, it: SessionShipment, claim: Claim, *, rolled_back: bool
) -> None:
    at, note, epoch = it.at, ctx.new_note(it.name, claim), ctx.epoch(it.name)
    shipment = ctx.sealer.shipment_of(it.name, claim)
    if not ctx.all_share:
        rolled_back = rolled_back or shipment.ended + 1 != epoch
    with await asyncio.to_thread(ProfileLock, at.profile) as lock:
        with staging.made_beside(at.profile) as made:
            for path, file in shipment.files.items():
                parts = await ctx.store.parts(it.name, file.id, file.parts)
                pieces = (ctx.sealer.opened(it.name, part) for part in parts)
                await asyncio.to_thread(shipping.write_file, made, path, file, pieces)
            snapshot = await asyncio.to_thread(
                shipping.keep, at, made, pairing=claim.pairing or "", shipped_at=claim.shipped_at
            )
        if rolled_back:  # first: who finds half of it sends nothing to groups
            await ctx.rolled_back(it.name, claim.shipped_at)
        moved = await asyncio.to_thread(
            shipping.put_in_place, at, lock.descriptor, snapshot, shipment.paired_at
        )
        await asyncio.to_thread(shipping.write_note, at.profile, note)
        if not rolled_back:  # last: groups wait as long as an earlier copy may be used
            await ctx.not_rolled_back(it.name)
    await it.say(replace(claim, note=note, orderly=False))
    logger.warning(
        "credentials of another host are laid down",
        event="credentials_laid_down",
        session=it.name,
        snapshot=snapshot,
        age=round(ctx.clock.wall() - claim.shipped_at),
        rolled_back=rolled_back,
        quarantined=str(moved) if moved else None,
    )


def _retire(at: Places) -> Path | None:
    with ProfileLock(at.profile) as lock:
        return shipping.retire(at, lock.descriptor)
