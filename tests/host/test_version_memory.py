"""The file that keeps what is known of WhatsApp's versions."""

import errno
from pathlib import Path

import pytest

from tests.host.odd_files import refuse
from waguard.core.replace import replace
from waguard.core.versions import policy, state
from waguard.core.versions.version_rules import VersionRules
from waguard.host.memory.version_memory import FILE, VersionMemory

PINNED = replace(state.initial("a" * 64), pin=1020304050, pinned_at=1.0)


def load(folder: Path) -> tuple[VersionMemory, state.VersionState | None]:
    memory = VersionMemory(folder)
    return memory, memory.load(lambda it: policy.decode(it, VersionRules(), now=2.0))


def test_what_the_system_does_not_let_be_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    VersionMemory(tmp_path).save(policy.encode(PINNED))
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / FILE, errno.EMFILE)
        memory, found = load(tmp_path)
    assert (found, memory.unreadable) == (None, None)
    memory.save(policy.encode(state.initial("b" * 64)))
    _, found = load(tmp_path)
    assert found
    assert found.pin == PINNED.pin
