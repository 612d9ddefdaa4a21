import os
from pathlib import Path

import pytest

from waguard.host.system.pressure import SATURATED, SATURATED_LOAD, cpu_is_saturated


@pytest.mark.parametrize(("share", "saturated"), [(SATURATED, False), (SATURATED + 1, True)])
def test_the_kernels_account_is_read(tmp_path: Path, *, share: float, saturated: bool) -> None:
    account = tmp_path / "cpu"
    account.write_text(f"some avg10={share:.2f} avg60=0.00 avg300=0.00 total=1\n")
    assert cpu_is_saturated(account) is saturated


@pytest.mark.parametrize("content", [None, "", "some", "some avg10=much"])
def test_without_one_the_load_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    account = tmp_path / "cpu"
    if content is not None:
        account.write_text(content)
    limit = SATURATED_LOAD * (os.cpu_count() or 1)
    for load, saturated in ((limit, False), (limit + 0.1, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert cpu_is_saturated(account) is saturated
