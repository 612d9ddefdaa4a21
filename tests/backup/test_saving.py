"""What one session's credentials do to a backup: it is whole without them, and names the session."""

import os
import shutil
from pathlib import Path

import pytest

from tests.backup.installation import Installation
from tests.profile.leveldb_files import BLOBS
from waguard.backup import archive
from waguard.core import backup_contents as policy
from waguard.profile import layout, snapshot_now, snapshots
from waguard.profile.layout import Places
from waguard.profile.snapshot_archive import Taken


def alpha(installation: Installation) -> Places:
    """Where the first session's profile and snapshots lie."""
    return layout.places(installation.config.paths.sessions, 7, "alpha")


def test_credentials_that_are_too_large_are_named_and_the_others_saved(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(name: str) -> int | None:
        return 2 << 20 if name.startswith("credentials/") else limit(name)

    limit = policy.limit
    for module in (policy, archive):
        monkeypatch.setattr(module, "limit", small)
    (alpha(old).profile / BLOBS / "1/00/8").write_bytes(os.urandom(3 << 20))
    file, saved = old.save(tmp_path / "backups")
    large, other = saved.sessions[:2]
    assert (large.session, large.snapshot) == ("alpha", None)
    assert "3 MB" in str(large.why)
    assert str(alpha(old).snapshots) in str(large.why), "what is to be copied by hand"
    assert (other.session, other.why) == ("beta", None)
    assert [line for line in new.restore(file).lost if "alpha" in line]


def test_a_copy_of_a_snapshot_that_a_person_made_does_not_spoil_the_backup(
    old: Installation, tmp_path: Path
) -> None:
    at = alpha(old)
    taken = snapshot_now.create(at)
    shutil.copytree(at.snapshots / taken.id, at.snapshots / f"{taken.id}.before")
    _, saved = old.save(tmp_path / "backups")
    assert [it.session for it in saved.sessions if it.snapshot] == ["alpha", "beta"]


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("is_read", [False, True])
def test_a_snapshot_that_goes_meanwhile_costs_no_backup(
    old: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    deleted: bool,
    is_read: bool,
) -> None:
    """A worker takes the next one, or the session is deleted."""
    at = alpha(old)
    first = snapshot_now.create(at)
    verify, chosen = snapshots.verify, False

    def late(snapshot: Path) -> Taken:
        nonlocal chosen
        if snapshot.name != first.id:
            return verify(snapshot)
        taken = verify(snapshot) if is_read or not chosen else None
        if chosen:
            for gone in (at.snapshots, at.profile) if deleted else (at.snapshots,):
                shutil.rmtree(gone)
        chosen = True
        return taken or verify(snapshot)

    monkeypatch.setattr(snapshots, "verify", late)
    _, saved = old.save(tmp_path / "backups")
    of_alpha, of_beta = saved.sessions[:2]
    assert (of_alpha.session, of_beta.session) == ("alpha", "beta")
    assert of_beta.snapshot
    assert (of_alpha.snapshot is None, bool(of_alpha.why)) == (deleted, deleted)
    assert of_alpha.snapshot != first.id
