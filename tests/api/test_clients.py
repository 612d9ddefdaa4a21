"""docs/clients.md: its programs run, its table is what clients.toml says, and that names what there is."""

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tests import clients_docs
from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import RAW
from waguard.api import create_app
from waguard.core.replace import replace
from waguard.errors import ConflictError, NotYetError, UnavailableError
from waguard.ports.outcomes import NotSent
from waguard.wire.calls import SendText
from waguard.wire.reports import QrCode

PROGRAMS: Final = dict(
    re.findall(r"(?ms)^```(sh|python|php|js)\n(.*?)^```", clients_docs.TARGET.read_text())
)
RUN: Final = {
    "sh": ("sh", "-eu"),
    "python": ("python3",),
    "php": ("php",),
    "js": ("node", "--input-type=module"),
}


@pytest.mark.parametrize("language", sorted(RUN))
async def test_a_program_creates_a_session_and_sends_once(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    command, *options = RUN[language]
    for needed in {command, "curl" if language == "sh" else command}:
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    shown = api.sessions.qr
    early = [NotYetError("there is no code yet", retry_after=0.0)]

    async def scanned(session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        """As soon as there is a code, by a phone that nobody sees."""
        if early:
            raise early.pop()
        view = await api.sessions.view(session_id)
        if view.status == "connected":
            raise ConflictError("the session is already linked")
        api.sessions.known[session_id] = replace(view, status="connected")
        return await shown(session_id, wait=wait, refresh=refresh)

    monkeypatch.setattr(api.sessions, "qr", scanned)
    api.sessions.outcomes.append(NotSent(UnavailableError("not yet", retry_after=0.0)))

    async def run() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(command, *options),
            cwd=tmp_path,
            env=os.environ | {"WAGUARD_URL": api.base, "WAGUARD_KEY": KEY, "NODE_OPTIONS": ""},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, wrong = await process.communicate(PROGRAMS[language].encode())
        assert process.returncode == 0, (said, wrong)
        return said

    said = await run()
    await run()  # a program that is run again finds the session linked
    _, again = api.sessions.sends()  # the first one was refused, and may be repeated
    assert isinstance(again, SendText)
    assert (again.chat, again.text) == ("6281234567890@c.us", "Hello")
    assert again.message_id in said.decode()
    if language == "sh":
        assert (tmp_path / "shop.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert RAW in said.decode()


def test_the_table_is_up_to_date() -> None:
    written = clients_docs.TARGET.read_text()
    assert written == clients_docs.text(), "run: python -m tests.clients_docs"


def test_each_route_of_the_table_is_there() -> None:
    deps: Any = None  # nothing is asked
    routes = create_app(deps).router.routes()
    served = {f"{it.method} {it.resource.canonical}" for it in routes if it.resource}
    named = [route for it in clients_docs.calls() for route in it["waguard"]]
    assert named
    assert set(named) <= served
