"""What a worker costs before its Chromium: forked against executed.

    .venv/bin/python -P -m bench.spawn [--rounds 30]

Spawned: the daemon has the process. Listening: the worker's first line. Ended: SIGTERM until it is
reaped. Memory: PSS and what is private, of each of twenty workers that wait for a browser.
"""

import argparse
import asyncio
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

from bench.rig import environment, pss
from waguard.host.process import procfs
from waguard.host.process.children import ExecSpawn, PidfdProcess
from waguard.host.process.fork_server import ForkSpawn
from waguard.wire.worker import WorkerSpec

# tells its version, and then stands for a browser that never answers
CHROMIUM = """#!/bin/sh
[ "$1" = --version ] && echo "Chromium 150.0.0.0" && exit
exec sleep 600
"""
FLEET = 20
POLL = 0.005  # s; not part of any time that is told

Spawn = ForkSpawn | ExecSpawn


def spec_in(folder: Path, number: int) -> WorkerSpec:
    """A worker whose browser is the script."""
    return WorkerSpec(
        instance="bench",
        session=f"s{number}",
        generation=1,
        workspace=1,
        profile=str(folder / f"p{number}"),
        snapshots="",
        quarantine="",
        snapshot_interval=3600.0,
        cache_limit=1 << 30,
        socket=str(folder / f"{number}.sock"),
        record=str(folder / f"{number}.json"),
        temporary=str(folder / f"t{number}"),
        url="http://127.0.0.1:9/",
        wajs=None,
        executable=str(folder / "chromium"),
        flavour="chromium",
        extra_args=(),
        launch_timeout=600.0,
        orphan_grace=600.0,
        heartbeat=1.0,
        sandbox=os.geteuid() != 0,
    )


async def launched(process: PidfdProcess) -> None:
    """Wait until the worker has started its browser: it does nothing more."""
    while not any(
        procfs.command_line(pid)[:1] == ["sleep"] for pid in procfs.children(process.pid)
    ):
        await asyncio.sleep(POLL)


async def latency(spawn: Spawn, folder: Path, rounds: int) -> None:
    """One worker after the other."""
    spawned, listening, ended = [], [], []
    for number in range(rounds):
        begun = time.perf_counter()
        process = await spawn.spawn(spec_in(folder, number))
        spawned.append(time.perf_counter() - begun)
        await process.listening()
        listening.append(time.perf_counter() - begun)
        await launched(process)
        begun = time.perf_counter()
        process.terminate()
        await process.wait()
        ended.append(time.perf_counter() - begun)
    for name, seconds in ("spawned", spawned), ("listening", listening), ("ended", ended):
        _, *_, high = statistics.quantiles(seconds, n=20)
        median = statistics.median(seconds)
        print(f"  {name:<10} median {median * 1e3:7.1f} ms   p95 {high * 1e3:7.1f} ms")


async def memory(spawn: Spawn, folder: Path) -> None:
    """Twenty workers alive at once."""
    begun = time.perf_counter()
    fleet = await asyncio.gather(*(spawn.spawn(spec_in(folder, n)) for n in range(FLEET)))
    for process in fleet:
        await process.listening()
    elapsed = time.perf_counter() - begun
    for process in fleet:
        await launched(process)
    each = [pss([process.pid]) for process in fleet]
    own = [private(process.pid) for process in fleet]
    server = [spawn.server_pid] if isinstance(spawn, ForkSpawn) and spawn.server_pid else []
    print(f"  {FLEET} at once, all listening after {elapsed * 1e3:.0f} ms")
    print(
        f"  a worker's PSS {statistics.median(each):.1f} MB, private {statistics.median(own):.1f} MB"
    )
    print(f"  all together   {sum(each) + pss(server):.0f} MB (server: {pss(server):.1f})")
    for process in fleet:
        process.kill()
        await process.wait()


def private(pid: int) -> float:
    """MB that would be free if ``pid`` ended."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)) / 1024


async def run(rounds: int) -> None:
    """Both ways, one after the other."""
    with tempfile.TemporaryDirectory(prefix="wg-") as name:
        folder = Path(name)
        (folder / "chromium").write_text(CHROMIUM)
        (folder / "chromium").chmod(0o700)
        print("exec")
        await latency(ExecSpawn(), folder, rounds)
        await memory(ExecSpawn(), folder)
        print("fork")
        forking = ForkSpawn()
        begun = time.perf_counter()
        forking.start()
        try:
            first = await forking.spawn(spec_in(folder, 0))
            print(
                f"  first one, with the start of the server {(time.perf_counter() - begun) * 1e3:.0f} ms"
            )
            first.kill()
            await first.wait()
            await latency(forking, folder, rounds)
            await memory(forking, folder)
        finally:
            await forking.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    kept = environment()
    os.environ.clear()
    os.environ.update(kept)
    asyncio.run(run(rounds))


if __name__ == "__main__":
    main()
