"""``waguard page``: an address with a ticket, and nothing else on stdout."""

import json

import pytest

from tests.cli.fake_api import Answer, Api, said
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
