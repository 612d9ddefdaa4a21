"""``waguard page``: an address with a ticket, and nothing else on stdout."""

import json
import socket

import pytest

from tests.cli.fake_api import Answer, Api, said, write_pid_file
from tests.cli.program import main

TICKET = "t" * 43
MADE = Answer(201, {"success": True, "ticket": TICKET, "expires_in": 60.0})


def test_the_address_alone_is_on_stdout(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says("POST /api/keys/ticket", MADE)
    assert main(["page"]) == 0
    (address,), hints = said(capsys)
    assert address.endswith(f"/#ticket={TICKET}")
    assert address.startswith("http://")
    assert hints == ["valid once, for 60 s; the page may operate for 12 hours"]
    assert main(["page", "--right", "read", "--json"]) == 0
    out, err = said(capsys)
    assert (json.loads("".join(out))["address"], err) == (address, [])
    assert [it[1] for it in api.asked] == [{"right": "operate"}, {"right": "read"}]


@pytest.mark.parametrize(
    ("listens", "configured", "said_to_be"),
    [
        ("http://127.0.0.1:9", "", "http://localhost:9"),
        ("http://0.0.0.0:9", "", f"http://{socket.gethostname()}:9"),
        ("http://[::]:9", "", f"http://{socket.gethostname()}:9"),
        ("http://192.0.2.7:9", "", "http://192.0.2.7:9"),
        ("http://0.0.0.0:9", '[api]\npublic_url = "https://wa.example/"', "https://wa.example"),
        ("http://0.0.0.0:9", '[alerts]\npage_url = "https://page.example"', "https://page.example"),
    ],
)
def test_the_address_is_one_that_can_be_opened(
    api: Api, capsys: pytest.CaptureFixture[str], listens: str, configured: str, said_to_be: str
) -> None:
    api.says("POST /api/keys/ticket", MADE)
    write_pid_file(api.folder, listens)
    with (api.folder / "waguard.toml").open("a") as file:
        file.write(f"\n{configured}\n")
    assert main(["page"]) == 0
    assert said(capsys)[0] == [f"{said_to_be}/#ticket={TICKET}"]
