"""Bundles of wa-js that the system does not let be read for a while: nothing of them was removed."""

import errno
from typing import Final

import pytest

from tests.host.odd_files import refuse
from tests.supervision.bench import Bench
from tests.supervision.version_drill import ME, NAMES, Drill
from waguard.host.memory.wajs_store import WajsStore, digest

BUNDLE: Final = b"/*! wppconnect-team/wa-js v4.7.0 */ WPP"
SHA256: Final = digest(BUNDLE)


async def test_a_bundle_in_use_stays_in_use(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drill = Drill(bench)
    await drill.up()
    drill.world.change("versions", good_after=10.0, canary_for=3.0, canary_after=5.0)
    store = WajsStore(drill.world.config.paths.state)
    store.add(BUNDLE, SHA256)
    await bench.it.operators.use_bundle(SHA256, by=ME)
    await drill.until(lambda: bench.it.versions.state.wajs == SHA256)
    await drill.run(30)
    workers = {name: bench.session(name).runner.process for name in NAMES}
    with monkeypatch.context() as patch:
        refuse(patch, store.path(SHA256), errno.EMFILE)
        await bench.it.operators.refresh_bundles()
        await drill.run(30)
        assert bench.it.versions.state.wajs == SHA256
        assert {name: bench.session(name).runner.process for name in NAMES} == workers
        await bench.restart()
        bench.it.versions.begin()
        assert bench.it.versions.state.wajs == SHA256
        assert bench.it.observer.for_worker("new").sha256 == SHA256
    await bench.it.operators.refresh_bundles()
    [row] = [it for it in bench.it.operators.listing().bundles if it.sha256 == SHA256]
    assert (row.in_use, row.version) == (True, "4.7.0")
