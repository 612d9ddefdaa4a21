"""A linking that needs the account's passkey, which only a browser elsewhere has: by the command, and by the status page
with the extension."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from extension.build import build
from tests.desk import (
    CANCEL,
    LONG,
    SIGN,
    card,
    eventually,
    operators_chromium,
    plug_in,
    signing_tab,
)
from tests.desk import press as press_button
from tests.e2e.conftest import World
from tests.e2e.harness import DEADLINE
from waguard.lab.standin import StandIn
from waguard.lab.standin.phone import PHONE
from waguard.worker.browser.page import PageSession

pytestmark = [pytest.mark.chromium, pytest.mark.e2e]
ROOT: Final = Path(__file__).parents[2]


@dataclass
class Secrets:
    """What the far side gives out and gets, so that a test can look for it where it must not be."""

    texts: list[str] = field(default_factory=list)

    def watch(self, standin: StandIn) -> None:
        passkeys = standin.whatsapp.linking.passkeys
        options, handle = passkeys.options, passkeys.handle

        def given(page: Any) -> dict[str, Any]:
            made = options(page)
            self.texts.append(made["challenge"])
            return made

        def got(page: Any, stanza: Any) -> bool:
            if stanza["type"] == "passkey_answer":
                self.texts += [it for it in stanza["assertion"]["response"].values() if it]
            return handle(page, stanza)

        passkeys.options, passkeys.handle = given, got  # type: ignore[method-assign]

    def require_absent(self, content: str, where: str) -> None:
        assert len(self.texts) >= 4, "something was given and got"
        assert [it[:12] for it in self.texts if it in content] == [], where


async def offered(world: World, secrets: Secrets | None = None) -> None:
    """A session was scanned, and WhatsApp wants the passkey."""
    await world.daemon.start()
    world.standin.policy.passkey = True
    if secrets:
        secrets.watch(world.standin)
    world.standin.phone.scan(await world.daemon.create("s1"), phone=PHONE)
    await world.daemon.wait_status("s1", "qr_scanning", link="passkey_required")
    await at_stage(world, "offered")


async def at_stage(world: World, stage: str | None) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        _, now = await world.daemon.call("GET", "/api/sessions/s1/passkey")
        return now if now["stage"] == stage else None

    found: dict[str, Any] = await world.daemon.until(check)
    return found


async def run_command(world: World, button: str, *arguments: str) -> tuple[int, str]:
    """Exit code and all that it said."""
    daemon, passkeys = world.daemon, world.standin.whatsapp.linking.passkeys
    given = {
        "arguments": world.standin.browser_args,
        "sandbox": os.geteuid() != 0,
        "passkey": passkeys.credential(PHONE).to_json(),
        "button": button,
    }
    key = str(daemon.folder / "state/api-key")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.passkey_command", json.dumps(given)),
        *("passkey", "s1", "--daemon", daemon.base, "--key-file", key, *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def stored(folder: Path) -> str:
    """Every file of a run: state, database, log."""
    files = [it for it in folder.rglob("*") if it.is_file() and "sessions" not in it.parts]
    assert {it.name for it in files} >= {"waguard.db", "waguard.log"}
    return "\n".join(it.read_text(errors="replace") for it in files)


async def test_the_command_links_the_session(world: World) -> None:
    secrets = Secrets()
    await offered(world, secrets)
    code, output = await run_command(world, SIGN)
    assert (code, output.splitlines()[-1]) == (0, "s1: linked"), output
    assert await world.daemon.wait_status("s1", "connected", phone_number=PHONE)
    await at_stage(world, None)
    secrets.require_absent(output, "what the command says")
    secrets.require_absent(stored(world.daemon.folder), "the daemon's files")


@pytest.mark.long
async def test_who_refuses_on_the_card_refuses_and_may_start_again(world: World) -> None:
    await offered(world)
    code, output = await run_command(world, CANCEL)
    assert (code, "nothing was signed: cancelled" in output) == (1, True), output
    await at_stage(world, "failed")
    world.standin.policy.passkey_way = "compare"  # after an error a code has to be compared
    signed = asyncio.create_task(run_command(world, SIGN))
    shown = (await at_stage(world, "confirm"))["code"]
    code, output = await run_command(world, SIGN, "--confirm", "ABCD-1234")
    assert (code, "not the one that WhatsApp Web shows" in output) == (1, True), output
    code, output = await run_command(world, SIGN, "--confirm", shown)
    assert (code, output.splitlines()[-1]) == (0, "s1: linked"), output
    code, output = await signed
    assert f"waguard passkey s1 --confirm {shown}" in output
    assert (code, output.splitlines()[-1]) == (0, "s1: linked"), output


@dataclass
class Console:
    """The status page in the operator's Chromium."""

    page: PageSession

    async def log_in(self, world: World) -> None:
        await self.page.navigate(f"{world.daemon.base}/#/session/s1", timeout=LONG)
        await self.until("document.querySelector('#login')")
        key = json.dumps(world.daemon.key)
        await self.value(
            f"document.querySelector('#key').value = {key};"
            " document.querySelector('#login').requestSubmit()"
        )

    async def value(self, expression: str) -> Any:
        return await self.page.evaluate(expression, timeout=LONG)

    async def until(self, condition: str) -> None:
        async def check() -> bool:
            return bool(await self.value(condition))

        await eventually(check, f"{condition}; the page says: {await self.text()}")

    async def text(self) -> str:
        return str(await self.value("document.body.innerText"))

    async def shows(self, words: str) -> None:
        shown = "document.querySelector('#passkeys')?.innerText"
        await self.until(f"{shown}?.includes({json.dumps(words)})")


@pytest.mark.long
async def test_the_status_page_and_the_extension_link_the_session(
    world: World, tmp_path: Path, short_path: Path
) -> None:
    secrets = Secrets()
    await offered(world, secrets)
    build([world.daemon.base], tmp_path / "extension")
    passkey = world.standin.whatsapp.linking.passkeys.credential(PHONE).to_json()
    async with operators_chromium(
        short_path, world.standin.browser_args, extensions=[tmp_path / "extension"]
    ) as chromium:
        console = Console(await chromium.devtools.open_page(LONG))
        await console.log_in(world)
        await console.shows("Start when its owner is here")
        await console.shows("no code has to be compared")

        await press_button(console.page, "Use my passkey")
        tab = await signing_tab(chromium)
        await at_stage(world, "asked")
        await press_button(tab, CANCEL)
        await console.shows("Nothing was signed: cancelled.")
        await console.shows("Start again")
        await at_stage(world, "failed")

        await console.until("document.querySelector('#passkeys button').ariaBusy !== 'true'")
        await press_button(console.page, "Use my passkey")
        tab = await signing_tab(chromium)

        async def shown() -> str:
            return await card(tab)

        text = await eventually(shown, "the card")
        assert f'{world.daemon.base} asks for your passkey to link its session "s1".' in text
        await plug_in(tab, passkey)
        await press_button(tab, SIGN)
        # after an error WhatsApp wants a code compared
        await console.until(
            "document.querySelector('#passkeys section')?.dataset.stage === 'confirm'"
        )
        code = (await at_stage(world, "confirm"))["code"]
        await console.shows(code)
        await press_button(console.page, "Both codes are equal")
        await world.daemon.wait_status("s1", "connected", phone_number=PHONE)
        await console.until("!document.querySelector('#passkeys section')")
    secrets.require_absent(stored(world.daemon.folder), "the daemon's files")


@pytest.mark.long
async def test_a_page_without_the_extension_starts_nothing(world: World, short_path: Path) -> None:
    await offered(world)
    async with operators_chromium(short_path, world.standin.browser_args) as chromium:
        console = Console(await chromium.devtools.open_page(LONG))
        await console.log_in(world)
        await console.shows("Start when its owner is here")
        await press_button(console.page, "Use my passkey")
        await console.shows("waguard passkey s1")
        await at_stage(world, "offered")
