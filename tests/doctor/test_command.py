"""``waguard doctor`` as it is typed."""

import asyncio
import json
from typing import Any

import pytest

from tests.doctor.host import Host
from waguard.cli import main, render


@pytest.fixture(autouse=True)
def _on_that_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waguard.doctor.probes.machine.Machine", lambda *_, **__: host.machine)


async def doctor(host: Host, *words: str) -> int:
    """Its exit code. Beside the loop, in which the daemon of the host answers."""
    return await asyncio.to_thread(main, ["doctor", *words, "--config", str(host.file)])


async def answer(host: Host, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    await doctor(host, "--json", *words)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


async def test_a_host_that_is_well(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert await doctor(host) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "ok: no problem was found"
    assert all(line.startswith("ok ") for line in said[:-2])


async def test_warnings_are_no_failure(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.machine.follows = False
    assert await doctor(host) == 0
    assert "warning clock" in capsys.readouterr().out


async def test_a_failure_has_its_own_exit_code(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.sessions.chmod(0o755)
    assert await doctor(host) == 5
    assert f"$ chmod 700 {host.sessions}" in capsys.readouterr().out


async def test_results_have_colours_on_a_terminal(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.machine.follows = False
    monkeypatch.setattr(render, "coloured", lambda: True)
    await doctor(host)
    said = capsys.readouterr().out
    assert "\x1b[33mwarning\x1b[0m clock " in said
    assert "\x1b[32mok\x1b[0m      disk " in said
    assert said.endswith("\x1b[33mwarning\x1b[0m: it works; the warnings say what may fail\n")


async def test_fix_repairs_and_examines_again(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.sessions.chmod(0o755)
    assert await doctor(host, "--fix") == 0
    said = capsys.readouterr().out
    assert f"repaired:\n  {host.sessions} has the mode 700\n" in said
    assert said.endswith("ok: no problem was found\n")
    assert await doctor(host, "--fix") == 0
    assert "repaired" not in capsys.readouterr().out


async def test_json_says_the_same(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.sessions.chmod(0o755)
    report = await answer(host, capsys)
    assert report["result"] == "failed"
    [check] = [one for one in report["checks"] if one["result"] != "ok"]
    assert check == {
        "check": "owners",
        "result": "failed",
        "seen": f"{host.sessions} (paths.sessions) is open to other users",
        "remedy": "Make it private",
        "command": f"chmod 700 {host.sessions}",
        "fixable": True,
    }
    fixed = await answer(host, capsys, "--fix")
    assert fixed["result"] == "ok"
    assert fixed["repairs"] == [f"{host.sessions} has the mode 700"]


async def test_a_configuration_that_is_wrong_is_a_finding(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.file.write_text("[api]\nport = 'x'\n")
    assert await doctor(host) == 5
    said = capsys.readouterr().out
    assert "failed  configuration   api.port: 'x' is not allowed" in said
    assert f"$ waguard config check --config {host.file}" in said


async def test_the_cut_over(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    env = host.folder / ".env"
    env.write_text("WHATSAPP_NODE_API_KEY=short\n")
    assert await doctor(host, "--cutover", "--env", str(env)) == 5
    said = capsys.readouterr().out
    assert said.startswith("1. Keep the way back\n")
    assert "WHATSAPP_NODE_API_KEY has 5 characters" in said
    report = await answer(host, capsys, "--cutover", "--env", str(env))
    assert [one["step"] for one in report["steps"]] == list(range(1, 9))
    assert report["way_back"][0]["command"] == "systemctl disable --now waguard"


async def test_the_env_is_for_the_cut_over(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert await doctor(host, "--env", ".env") == 2
    assert "--env: the application's .env is compared by --cutover only" in capsys.readouterr().err
