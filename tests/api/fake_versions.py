"""``ports.versions.VersionControl`` that does what a test says."""

from dataclasses import dataclass, field

from waguard.core.replace import replace
from waguard.core.versions.views import VersionRow, VersionStatus
from waguard.errors import ConflictError, NotFoundError, WaguardError
from waguard.ports.versions import BundleRow, Listing

PACKED, ADDED = "0" * 64, "a1" * 32
OFF = ConflictError("versions.mode is off", field="versions.mode", remedy="set it")


def a_row(revision: int, status: VersionStatus) -> VersionRow:
    return VersionRow(
        revision=revision,
        status=status,
        since=1_732_240_000.4,
        why="so it is",
        sessions=("s1",),
        wajs=(PACKED,),
        stored=True,
        latest=status is VersionStatus.LATEST,
        served=status is VersionStatus.GOOD,
    )


def a_bundle(sha256: str, *, packed: bool) -> BundleRow:
    return BundleRow(
        sha256=sha256,
        version=None if packed else "4.7.0",
        packed=packed,
        in_use=packed,
        candidate=False,
        rolled_back=None if packed else 1_732_240_000.4,
        sessions=("s1",) if packed else (),
    )


LISTED = Listing(
    mode="react",
    newest=1023,
    pin=None,
    held_from=1023,
    trial=None,
    rows=[a_row(1023, VersionStatus.HELD), a_row(1022, VersionStatus.GOOD)],
    configured=None,
    bundles=[a_bundle(PACKED, packed=True), a_bundle(ADDED, packed=False)],
)


@dataclass
class FakeVersions:
    """Knows two versions and two bundles. ``fail`` is raised by every change."""

    now: Listing = LISTED
    fail: WaguardError | None = None
    done: list[tuple[object, ...]] = field(default_factory=list)
    refreshed: int = 0

    def listing(self) -> Listing:
        return self.now

    async def pin(self, revision: int, *, by: str) -> None:
        self._do("pin", revision, by)
        if revision not in {it.revision for it in self.now.rows}:
            raise NotFoundError("it is not stored here", remedy="stored are 1023, 1022")
        self.now = replace(self.now, pin=revision)

    async def unpin(self, *, by: str) -> None:
        self._do("unpin", by)
        self.now = replace(self.now, pin=None)

    def try_version(self, revision: int | None, *, session: str | None, by: str) -> None:
        self._do("try", revision, session, by)

    async def try_bundle(self, sha256: str, *, session: str | None, by: str) -> None:
        self._do("try bundle", sha256, session, by)

    async def use_bundle(self, sha256: str, *, by: str) -> None:
        self._do("use bundle", sha256, by)

    async def refresh_bundles(self) -> None:
        self.refreshed += 1

    def _do(self, *what: object) -> None:
        if self.fail:
            raise self.fail
        self.done.append(what)
