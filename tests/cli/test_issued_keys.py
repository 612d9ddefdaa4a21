"""``waguard keys create``, ``list`` and ``revoke``: the daemon does it, and a key is printed once."""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.fake_api import Answer, Api, said
from tests.cli.program import main
from waguard.cli.keys import add
from waguard.core import issued_keys
from waguard.core.issued_keys import IssuedKey, Wanted
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.host.memory import key_memory

PATH: Final = "/api/keys"
KEY: Final = f"wg_0a1b2c3d_{'s' * 43}"
ABOUT: Final[dict[str, Any]] = {
    "id": "0a1b2c3d",
    "name": "shop",
    "right": "send",
    "expires_at": "2026-12-01T00:00:00Z",
    "ended_at": None,
}
ENDED: Final = ABOUT | {"id": "ffffffff", "ended_at": "2026-11-01T00:00:00Z"}
ROOT: Final = Caller(name="root by the socket", right=Right.ADMIN)


def issued(name: str, key_id: str, **changes: Any) -> IssuedKey:
    wanted = Wanted(name=name, right=Right.SEND)
    made = issued_keys.issue(ROOT, wanted, key_id=key_id, text=key_id, now=1_790_000_000.0)
    return replace(made, **changes)


def test_a_new_key_alone_is_on_stdout(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"success": True, "key": KEY, "about": ABOUT}
    api.says(f"POST {PATH}", Answer(201, answer))
    scope = ["--workspace", "7", "--workspace", "8", "--session", "a", "--expires", "12h"]
    assert main(["keys", "create", "shop", "--right", "send", *scope]) == 0
    assert api.asked == [
        (
            f"POST {PATH}",
            {
                "name": "shop",
                "right": "send",
                "workspaces": [7, 8],
                "sessions": ["a"],
                "expires_in": 43_200,
            },
        )
    ]
    assert said(capsys) == (
        [KEY],
        [
            "key 0a1b2c3d (shop) has the right send, until 2026-12-01T00:00:00Z; it is never shown again"
        ],
    )
    api.says(f"POST {PATH}", Answer(201, answer | {"about": ABOUT | {"expires_at": None}}))
    assert main(["keys", "create", "shop", "--right", "send"]) == 0
    assert api.asked[-1][1] == {"name": "shop", "right": "send"}
    assert "without an end" in said(capsys)[1][0]
    assert main(["keys", "create", "shop", "--right", "send", "--json"]) == 0
    out, err = said(capsys)
    assert json.loads("".join(out))["key"] == KEY
    assert err == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["shop"],
        ["shop", "--right", "owner"],
        ["shop", "--right", "read", "--expires", "soon"],
        ["shop", "--right", "read", "--expires", "0d"],
        ["shop", "--right", "read", "--workspace", "x"],
        ["--right", "read"],
    ],
)
def test_what_makes_no_key(api: Api, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["keys", "create", *arguments])
    assert api.asked == []


def test_a_refusal_says_why(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": "there is a key of this name", "field": "name", "remedy": "revoke it"}
    api.says(f"POST {PATH}", Answer(409, error))
    assert main(["keys", "create", "shop", "--right", "read"]) == 1
    assert said(capsys)[1] == ["waguard: name: there is a key of this name (revoke it)"]


@pytest.mark.parametrize("named", ["0a1b2c3d", "shop"])
def test_a_key_is_revoked_by_its_id_or_name(
    api: Api, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    api.says(f"GET {PATH}", Answer(200, {"keys": [ENDED, ABOUT]}))
    made = [ABOUT | {"id": "11111111", "name": "child"}]
    not_yet = ["b", "c", "the database"]
    answer = {"about": ABOUT, "made": made, "not_yet": not_yet}
    api.says(f"DELETE {PATH}/0a1b2c3d", Answer(200, answer))
    assert main(["keys", "revoke", named]) == 2, "nobody can be asked"
    assert [it for it, _ in api.asked] == [f"GET {PATH}"]
    capsys.readouterr()
    assert main(["keys", "revoke", named, "--yes"]) == 0
    assert said(capsys)[0] == [
        "key 0a1b2c3d (shop) is revoked",
        "keys that it has made stay valid: 11111111 (child)",
        "valid on b, c until 2 s after they reach the database",
        "the database does not answer: it is written there when it does",
    ]


def test_a_key_is_not_shown_where_it_is_none(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.says(f"GET {PATH}", Answer(200, {"keys": [ABOUT]}))
    assert main(["keys", "revoke", KEY, "--yes"]) == 2
    (line,) = said(capsys)[1]
    assert line.startswith("waguard: key: there is no such issued key")
    assert "s" * 43 not in line
    assert not any(request.startswith("DELETE") for request, _ in api.asked)


def test_the_list_has_what_the_daemon_wrote(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(short_path)
    path = short_path / "state" / key_memory.FILE
    keys = [
        issued("all", "00000000"),
        issued("narrow", "11111111", workspaces=(7,), sessions=("a",), used_at=1_790_000_060.0),
        issued("late", "22222222", expires_at=1_790_000_001.0),
        issued("lasting", "33333333", expires_at=time.time() + 1e6),
        issued("gone", "44444444", ended_at=1_790_000_002.0, ended_by="ani"),
        issued("over", "55555555", ended_at=1_790_000_002.0),
    ]
    key_memory.write(path, keys)
    assert main(["keys", "list"]) == 0
    out, _ = said(capsys)
    assert f"issued: {path}" in out
    rows = [line.split("  ") for line in out[out.index(f"issued: {path}") + 2 :]]
    cells = {row[1]: [it.strip() for it in row if it.strip()] for row in rows}
    assert {name: row[-1] for name, row in cells.items()} == {
        "all": "valid",
        "narrow": "valid",
        "late": "expired",
        "lasting": "valid",
        "gone": "revoked by ani",
        "over": "expired",
    }
    assert cells["all"] == ["00000000", "all", "send", "all", "-", "-", "valid"]
    assert cells["narrow"][3:6] == ["workspace 7, a", "-", "2026-09-21T14:14:20Z"]
    assert main(["keys", "list", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)["issued"]
    assert [it["name"] for it in reported] == [it.name for it in keys]
    assert reported[4]["ended_at"] == "2026-09-21T14:13:22Z"
    assert not any("sha256" in it for it in reported)


def test_a_file_that_cannot_be_read_is_unknown(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(short_path)
    path = short_path / "state" / key_memory.FILE
    key_memory.write(path, [])
    path.write_text("{")
    assert main(["keys", "list"]) == 0
    assert said(capsys)[0][-1].startswith("unknown: it is not a file of keys")
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["issued"] is None


def test_rights_are_offered_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["create", "--help"])
    assert "{read,send,operate,admin}" in capsys.readouterr().out
