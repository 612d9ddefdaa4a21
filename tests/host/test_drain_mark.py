"""Whether a host is being emptied, for the next daemon."""

from pathlib import Path

from waguard.host.memory import drain_mark


def test_a_host_is_drained_until_somebody_ends_that(tmp_path: Path) -> None:
    drain_mark.write(tmp_path, drained=False)
    assert not drain_mark.read(tmp_path)
    drain_mark.write(tmp_path, drained=True)
    drain_mark.write(tmp_path, drained=True)
    assert drain_mark.read(tmp_path)
    assert [it.name for it in tmp_path.iterdir()] == [drain_mark.FILE]
    drain_mark.write(tmp_path, drained=False)
    assert not drain_mark.read(tmp_path)
