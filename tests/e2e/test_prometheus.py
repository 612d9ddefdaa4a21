"""A real Prometheus scrapes a daemon with sessions: each panel of the dashboard has an answer, each alert is evaluated."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from http.client import SERVICE_UNAVAILABLE
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.api.test_dashboard import DASHBOARD, RULES
from tests.e2e.conftest import World
from tests.ports import reserved_port

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long),
    pytest.mark.timeout(600),
]

PHONES: Final = {"s1": "6281180001", "s2": "6281180002"}
VARIABLES: Final = {"$instance": ".+", "$__rate_interval": "1m"}
WITHIN: Final = 180.0  # s until all that is asked for was scraped twice
SCRAPED_EVERY: Final = "1s"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program. Debian's package is only unpacked: installed, it would bring a service that runs."""
    if found := shutil.which("prometheus"):
        return found
    folder = tmp_path_factory.mktemp("prometheus")
    os.chmod(folder, 0o777)  # noqa: PTH101 - apt fetches as another user
    commands = (("apt-get", "-qq", "download", "prometheus"), ("sh", "-c", "dpkg-deb -x *.deb ."))
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"there is no prometheus, and Debian's cannot be fetched: {done.stderr}")
    return str(folder / "usr/bin/prometheus")


class Asked:
    """The HTTP API of a Prometheus."""

    def __init__(self, base: str, http: aiohttp.ClientSession) -> None:
        self._base, self._http = base, http

    async def get(self, path: str, **query: str) -> Any:
        """What it answers; None: it does not answer yet."""
        with contextlib.suppress(aiohttp.ClientError):
            async with self._http.get(f"{self._base}{path}", params=query) as response:
                if response.status == SERVICE_UNAVAILABLE:
                    return None  # it is starting
                answer = await response.json()
                assert answer["status"] == "success", answer
                return answer["data"]
        return None


@contextlib.asynccontextmanager
async def scraping(program: str, world: World, folder: Path) -> AsyncIterator[Asked]:
    scrape = {
        "job_name": "waguard",
        "scrape_interval": SCRAPED_EVERY,
        "authorization": {"credentials": world.daemon.key},
        "static_configs": [{"targets": [world.daemon.base.removeprefix("http://")]}],
    }
    file = folder / "prometheus.yml"  # what is JSON is YAML, too
    rules = {"evaluation_interval": SCRAPED_EVERY}
    file.write_text(
        json.dumps({"global": rules, "rule_files": [str(RULES)], "scrape_configs": [scrape]})
    )
    with reserved_port() as port, (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
        try:
            async with aiohttp.ClientSession() as http:
                yield Asked(f"http://127.0.0.1:{port}", http)
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def test_each_panel_has_an_answer_and_each_alert_is_evaluated(
    world: World, prometheus: str, tmp_path: Path
) -> None:
    daemon = world.daemon
    await daemon.start()
    for session, phone in PHONES.items():
        await daemon.pair(world.standin, session, phone)
    await daemon.create("s3")  # waits for a scan: a condition
    async with scraping(prometheus, world, tmp_path) as asked:

        async def is_scraped() -> Any:
            return (await asked.get("/api/v1/query", query="waguard_info") or {}).get("result")

        await daemon.until(is_scraped, deadline=WITHIN)
        os.kill((await daemon.status("s1"))["browser_pid"], signal.SIGKILL)
        await daemon.wait_status("s1", "connected", restarts=1)
        assert (await daemon.send("s2", "+6281180009", "hello"))[0] == 200
        world.standin.phone.incoming(phone=PHONES["s2"], from_="6281180009", body="hi")
        await world.receiver.wait_for("message_received")
        world.receiver.refusals = [503] * 10_000
        world.standin.phone.incoming(phone=PHONES["s2"], from_="6281180009", body="it waits")
        await _each_panel_is_answered(asked)
        rules = (await asked.get("/api/v1/rules"))["groups"][0]["rules"]
        assert {it["health"] for it in rules} == {"ok"}
        assert len(rules) == 9
        assert [it["name"] for it in rules if it["state"] == "firing"] == []


async def _each_panel_is_answered(asked: Asked) -> None:
    targets = [
        (panel["title"], target["expr"])
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    ]
    open_ones = dict(enumerate(targets))

    async def all_are() -> bool:
        for number, (_, expr) in list(open_ones.items()):
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)  # noqa: PLW2901 - one after the other
            data = await asked.get("/api/v1/query", query=expr)
            if data and data["result"]:
                del open_ones[number]
        return not open_ones

    try:
        async with asyncio.timeout(WITHIN):
            while not await all_are():
                await asyncio.sleep(1)
    except TimeoutError:
        pytest.fail(f"without an answer: {sorted(open_ones.values())}")
