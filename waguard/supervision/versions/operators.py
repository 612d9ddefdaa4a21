"""What operators ask of WhatsApp's versions and of wa-js bundles."""

import asyncio

from waguard.core.versions import policy as versions
from waguard.core.versions import views as version_views
from waguard.core.versions import words as version_words
from waguard.core.versions.facts import (
    Pin,
    Try,
    Unpin,
    UseBundle,
)
from waguard.errors import ConflictError, NotFoundError, UnavailableError
from waguard.ports.versions import BundleRow, Listing
from waguard.supervision.versions.decision import VersionDecision, bundles_here


class VersionOperators:
    """Fills ``ports.versions.VersionControl``."""

    def __init__(self, decision: VersionDecision) -> None:
        self._decision = decision

    def listing(self) -> Listing:
        """See ``ports.versions.VersionControl``."""
        state, configured = self._decision.state, self._decision.config().whatsapp.wajs
        return Listing(
            mode=state.rules.mode,
            newest=state.newest,
            pin=state.pin,
            held_from=state.hold.boundary if state.hold else None,
            trial=state.trial.session if state.trial else None,
            rows=version_views.rows(state),
            configured=str(configured) if configured else None,
            bundles=[
                self._bundle_row(it)
                for it in sorted({self._decision.packed, *self._decision.bundles})
            ],
        )

    def _bundle_row(self, sha256: str) -> BundleRow:
        state, packed = self._decision.state, sha256 == self._decision.packed
        having = (
            name
            for name, it in state.members.items()
            if it.left_at is None and it.arm.wajs == sha256
        )
        return BundleRow(
            sha256=sha256,
            version=self._decision.packed_version if packed else self._decision.bundles.get(sha256),
            packed=packed,
            in_use=sha256 == state.wajs,
            candidate=sha256 == state.candidate,
            rolled_back=state.rejected.get(sha256),
            sessions=tuple(sorted(having)),
        )

    async def pin(self, revision: int, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        self._require_known(revision)
        await self._ask_lasting(Pin(revision), "revision", revision)
        self._decision.record(
            "version_pinned", f"{by} pinned WhatsApp Web {revision}", revision=revision
        )
        await self._decision.save()

    async def unpin(self, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        state = self._decision.state
        if (before := state.pin) is None and state.lost is None:
            raise ConflictError("no version is pinned", remedy="see `waguard versions list`")
        await self._foresee(Unpin())
        self._decision.post(Unpin())
        words = f"ended the pin of {before}" if before else "said that no version is pinned"
        self._decision.record("version_unpinned", f"{by} {words}", revision=before)
        await self._decision.save()

    def try_version(self, revision: int | None, *, session: str | None, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        if revision is not None and revision != self._decision.state.newest:
            self._require_known(revision)
        wish = Try(revision=revision, session=session)
        self._ask(wish, "revision", revision)
        self._decision.record("version_asked", f"{by} asked to try {version_words.tried(wish)}")

    async def try_bundle(self, sha256: str, *, session: str | None, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        self._require_unconfigured()
        found = await self._require_bundle(sha256)
        wish = Try(wajs=found, session=session)
        self._ask(wish, "sha256", sha256)
        self._decision.record("bundle_asked", f"{by} asked to try {version_words.tried(wish)}")

    async def use_bundle(self, sha256: str, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_unconfigured()
        found = await self._require_bundle(sha256)
        await self._ask_lasting(UseBundle(found), "sha256", sha256)
        self._decision.record(
            "bundle_used", f"{by} has all sessions get {version_words.bundle(found)}"
        )
        await self._decision.save()

    async def refresh_bundles(self) -> None:
        """See ``ports.versions.VersionControl``."""
        found = await asyncio.to_thread(bundles_here, self._decision.store)
        self._decision.handle_bundles(found)

    async def _ask_lasting(self, fact: Pin | UseBundle, field: str, value: object) -> None:
        """As ``_ask``, for what outlives the daemon. Raises ``UnavailableError`` where it cannot be written."""
        self._require_possible(fact, field, value)
        await self._foresee(fact)
        self._ask(fact, field, value)

    async def _foresee(self, fact: Pin | Unpin | UseBundle) -> None:
        """Have written what follows from it before it is posted: an answered wish outlives the daemon."""
        decision = self._decision
        memory, now = decision.memory, decision.now()
        wanted = versions.advance(decision.state, fact, now).state
        await decision.save(wanted)
        if memory.written != versions.encode(wanted) and (why := memory.refuses) is not None:
            raise UnavailableError(
                f"nothing is changed, for {memory.path} cannot be written: {why}",
                remedy="let waguard read and write this file, see that its disk has room, and ask again; restart"
                " waguard where the file could not be read",
            )

    def _ask(self, fact: Pin | Try | UseBundle, field: str, value: object) -> None:
        """Post it. Raises ``ConflictError`` where it cannot be fulfilled."""
        self._require_possible(fact, field, value)
        self._decision.post(fact)

    def _require_possible(self, fact: Pin | Try | UseBundle, field: str, value: object) -> None:
        if why := versions.refusal(self._decision.state, fact):
            raise ConflictError(why, field=field, value=value, remedy="see `waguard versions list`")

    def _require_on(self) -> None:
        if not self._decision.on:
            raise ConflictError(
                "versions.mode is off: every session gets what WhatsApp serves",
                field="versions.mode",
                value="off",
                remedy='set versions.mode to "react" or "guard" and reload waguard',
            )

    def _require_unconfigured(self) -> None:
        if (path := self._decision.config().whatsapp.wajs) is not None:
            raise ConflictError(
                f"all sessions get {path}, which the configuration names",
                field="whatsapp.wajs",
                value=str(path),
                remedy="take whatsapp.wajs out of the configuration and reload waguard",
            )

    def _require_known(self, revision: int) -> None:
        known = sorted(self._decision.state.stored, reverse=True)
        if revision in known:
            return
        raise NotFoundError(
            f"version {revision} is not stored here",
            field="revision",
            value=revision,
            remedy=f"stored are {', '.join(map(str, known))}" if known else "none is stored yet",
        )

    async def _require_bundle(self, sha256: str) -> str:
        """The whole digest; its beginning is enough where it names one bundle."""
        await self.refresh_bundles()
        known = sorted({self._decision.packed, *self._decision.bundles})
        found = [it for it in known if it.startswith(sha256)] if sha256 else []
        if len(found) == 1:
            return found[0]
        raise NotFoundError(
            "there is no such bundle" if not found else "more than one bundle begins so",
            field="sha256",
            value=sha256,
            remedy=f"known are {', '.join(it[: version_words.SHORT] for it in known)}",
        )
