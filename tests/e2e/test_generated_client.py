"""A client that openapi-python-client makes of the document: what others see of the API is enough to use it."""

import asyncio
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import World
from waguard.api import create_app, openapi

PHONE, FRIEND = "6281180001", "6281180002"
NAME: Final = "made_of_the_document"
# replies that are files: their routes are generated, their content is for whoever asks httpx for it
FILES: Final = {"image/png", "*/*"}


async def generated(document: bytes, folder: Path) -> str:
    """What the generator says; the package is ``NAME`` in this folder."""
    (folder / "openapi.json").write_bytes(document)
    (folder / "configuration.json").write_text('{"post_hooks": []}')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--config", "configuration.json", "--path", "openapi.json", "--output-path", NAME),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


async def test_every_route_and_every_reply_is_generated(tmp_path: Path) -> None:
    deps: Any = None  # nothing is asked
    document = openapi.document(create_app(deps))
    said = await generated(json.dumps(document).encode(), tmp_path)
    unsupported = re.findall(r"Unsupported content_type ([^ )]+)", said)
    assert set(unsupported) == FILES
    assert said.count("WARNING") == len(unsupported), said
    assert "Unable" not in said
    made = {path.stem for path in tmp_path.glob(f"{NAME}/api/*/*.py")}
    operations = [it for methods in document["paths"].values() for it in methods.values()]
    assert {it["operationId"] for it in operations} == made - {"__init__"}


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.chromium
async def test_it_creates_pairs_and_sends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = world.daemon
    await daemon.start()
    _, document = await daemon.call("GET", "/api/openapi.json", key=False)
    await generated(json.dumps(document).encode(), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def made(name: str) -> Any:
        return importlib.import_module(f"{NAME}.{name}")

    models, api = made("models"), "api.sessions.sessions_{}".format
    client = made("client").AuthenticatedClient(
        daemon.base, daemon.key, prefix="", auth_header_name="X-Api-Key", timeout=60.0
    )
    try:
        new = models.CreateSession(session_id="s1", workspace_id=1)
        created = await made(api("create")).asyncio(client=client, body=new)
        assert isinstance(created, models.Created)

        async def code() -> str | None:
            shown = await made("api.qr.qr_show").asyncio("s1", client=client, wait=20.0)
            return shown.raw if isinstance(shown, models.Code) else None

        world.standin.phone.scan(await daemon.until(code), phone=PHONE)

        async def connected() -> bool:
            found = await made(api("status")).asyncio("s1", client=client)
            assert isinstance(found, models.Session)
            return bool(found.status == "connected")

        await daemon.until(connected)
        text = models.SendText(session_id="s1", recipient_phone=FRIEND, message="hello")
        sent = await made("api.messages.messages_send").asyncio(client=client, body=text)
        assert isinstance(sent, models.Sent)
        assert sent.message_id in {it["id"] for it in world.standin.phone.messages(PHONE)}

        unknown = await made(api("status")).asyncio("nobody", client=client)
        assert isinstance(unknown, models.Problem)
    finally:
        await client.get_async_httpx_client().aclose()
