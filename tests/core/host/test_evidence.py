"""What was read of the host at the moment of a failure, and what that proves."""

from typing import Any

import pytest
from msgspec.structs import replace

from waguard.core import remedies
from waguard.core.blame import Blame
from waguard.core.host import evidence as e
from waguard.core.host.evidence import Disk, Evidence, host_failure

AMPLE = Disk(key="paths.sessions", folder="/s", free=10 << 30, files=1_000_000)
RUN = Disk(key="paths.runtime", folder="/r", free=10 << 30, files=None)
WELL = Evidence(disks=(AMPLE, RUN), pids=30_000, descriptors=60_000, executable="/c")


def disk(**changes: Any) -> Evidence:
    return replace(WELL, disks=(replace(AMPLE, **changes), RUN))


LACKS = [
    (disk(free=1 << 20), e.DISK_FULL, "the disk of paths.sessions (/s) is full: 1 MB are free"),
    (disk(free=0, error="No space left on device"), e.DISK_FULL, "is full: 0 MB are free"),
    (disk(files=0, error="No space left on device"), e.INODES_FULL, "has no inodes left: files"),
    (disk(read_only=True, error="Read-only file system"), e.READ_ONLY, "is mounted read-only"),
    (disk(error="Input/output error"), e.UNWRITABLE, "(/s) cannot be written: Input/output error"),
    (disk(silent=True), e.SILENT, "does not answer"),
    (replace(WELL, pids=15), e.PIDS_SHORT, "15 pids left"),
    (replace(WELL, descriptors=3), e.DESCRIPTORS_SHORT, "3 more files"),
    (replace(WELL, namespaces="it may not"), e.NO_SANDBOX, "no sandbox here: it may not"),
    (replace(WELL, hangs=5.0), e.BROWSER_HANGS, "/c --version did not answer within 5 s"),
    (replace(WELL, unusable="exit code 127"), e.BROWSER_UNUSABLE, "failed: exit code 127"),
]


@pytest.mark.parametrize(("seen", "reason", "words"), LACKS)
def test_each_lack_has_its_own_message_and_remedy(seen: Evidence, reason: str, words: str) -> None:
    failure = host_failure(seen)
    assert failure
    assert (failure.blame, failure.reason) == (Blame.HOST, reason)
    assert words in str(failure)
    assert reason in remedies.FAILED
    says = "Install Chromium" in remedies.FAILED[reason]
    assert says is (reason == e.BROWSER_UNUSABLE), "only that cures nothing else"


def test_each_reason_has_another_remedy() -> None:
    reasons = {reason for _, reason, _ in LACKS}
    assert len({remedies.FAILED[reason] for reason in reasons}) == len(reasons)


def test_a_host_that_has_all_proves_nothing_and_neither_does_what_is_unknown() -> None:
    assert host_failure(WELL) is None
    assert host_failure(Evidence()) is None
    assert host_failure(Evidence(disks=(Disk(key="k", folder="/x"),))) is None


def test_what_the_disk_lacks_explains_a_chromium_that_fails() -> None:
    seen = replace(disk(read_only=True), pids=0, unusable="exit code 1")
    failure = host_failure(seen)
    assert failure
    assert (failure.reason, failure.place) == (e.READ_ONLY, "/s")


def test_every_disk_that_is_written_counts() -> None:
    failure = host_failure(replace(WELL, disks=(AMPLE, replace(RUN, free=0))))
    assert failure
    assert (failure.reason, failure.place) == (e.DISK_FULL, "/r")
