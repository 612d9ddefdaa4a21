"""``waguard alerts``, without a daemon."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import main


class Receiver(HTTPServer):
    """Accepts what is posted to /good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Receiver)
        self.server.got.append(body)
        self.send_response(200 if self.path == "/good" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def file(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of destinations, which the configuration names."""
    monkeypatch.chdir(short_path)
    (short_path / "waguard.toml").write_text('[alerts]\ndestination_file = "alert-destinations"\n')
    path = short_path / "alert-destinations"
    path.touch(0o600)
    return path


def test_each_destination_gets_a_test_and_says_what_came_back(
    file: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    port = receiver.server_port
    file.write_text(f"webhook http://127.0.0.1:{port}/good\nslack http://127.0.0.1:{port}/bad\n")
    assert main(["alerts", "test"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "line 1, webhook at 127.0.0.1: accepted",
        "line 2, slack at 127.0.0.1: it answered 404",
    ]
    assert main(["alerts", "test", "--json"]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(it["ok"], it["error"]) for it in results] == [(True, None), (False, "it answered 404")]
    file.write_text(f"webhook http://127.0.0.1:{port}/good\n")
    receiver.got.clear()
    assert main(["alerts", "test"]) == 0
    [got] = receiver.got
    assert "nothing is wrong" in got["text"]


def test_a_test_without_destinations_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alerts", "test"]) == 2
    assert "alerts.destination_file: there is no destination to test" in capsys.readouterr().err


@pytest.mark.parametrize(
    "configuration",
    [
        "",
        "[api]\nport = 'wrong'\n",
        "[api]\nport = 3001O\n",
        "  [api]\nnames = [\n",
        "[api]\nhost = '\udcff'\n",
        f"[api]\nport = {'[' * 100_000}\n",
    ],
    ids=["right", "wrong", "syntax", "open", "encoding", "nested"],
)
def test_a_failed_daemon_is_reported_also_where_its_configuration_is_wrong(
    file: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, configuration: str
) -> None:
    file.write_text(f"webhook http://127.0.0.1:{receiver.server_port}/good\n")
    found = file.with_name("waguard.toml")
    alerts = found.read_text()
    found.write_text(alerts + configuration, errors="surrogateescape")
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "exit-code")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "2")
    assert main(["alerts", "failed"]) == 0
    [got] = receiver.got
    assert "failed (exit-code, exit status 2)" in got["text"]
    assert "not supervised" in got["text"]
    monkeypatch.setenv("MONITOR_UNIT", "waguard-backup.service")
    found.write_text(configuration + alerts, errors="surrogateescape")
    assert main(["alerts", "failed"]) == 0
    assert "waguard-backup.service failed" in receiver.got[1]["text"]
    assert "not supervised" not in receiver.got[1]["text"]


@pytest.mark.parametrize(
    "alerts",
    [
        'alerts.destination_file = "alert-destinations"\n',
        "alerts = { destination_file = 'alert-destinations' }\n",
    ],
)
@pytest.mark.parametrize("configuration", ["[api]\nport = 'wrong'\n", "[api]\nport = 3001O\n"])
def test_a_failed_daemon_is_reported_where_no_section_of_its_own_names_the_destinations(
    file: Path, receiver: Receiver, alerts: str, configuration: str
) -> None:
    file.write_text(f"webhook http://127.0.0.1:{receiver.server_port}/good\n")
    file.with_name("waguard.toml").write_text(alerts + configuration)
    assert main(["alerts", "failed"]) == 0
    assert len(receiver.got) == 1


@pytest.mark.parametrize("configuration", ["[api]\nport = 'wrong'\n", "port = 3001O\n", None])
def test_a_failed_daemon_is_reported_where_the_environment_names_the_destinations(
    file: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, configuration: str | None
) -> None:
    """Beside the file that is wrong, or that was named and is not there."""
    file.write_text(f"webhook http://127.0.0.1:{receiver.server_port}/good\n")
    monkeypatch.setenv("WAGUARD_ALERTS__DESTINATION_FILE", file.name)
    named = file.with_name("named.toml")
    if configuration:
        named.write_text(f"[alerts]\ndestination_file = 'nowhere'\n{configuration}")
    assert main(["alerts", "failed", "--config", str(named)]) == 0
    assert len(receiver.got) == 1


def test_where_the_environment_names_none_the_reason_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAGUARD_ALERTS__DESTINATION_FILE", "")
    found = file.with_name("waguard.toml")
    found.write_text(f"{found.read_text()}[api]\nport = 'wrong'\n")
    assert main(["alerts", "failed"]) == 2
    assert "api.port" in capsys.readouterr().err


def test_a_wrong_line_does_not_keep_a_failure_from_the_others(
    file: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"pager SECRET\nwebhook http://127.0.0.1:{receiver.server_port}/good\n")
    assert main(["alerts", "failed"]) == 2
    assert len(receiver.got) == 1
    for command in (["alerts", "test"], ["config", "check"]):
        capsys.readouterr()
        assert main(command) == 2
        err = capsys.readouterr().err
        assert "line 1: it begins with no known kind" in err
        assert "SECRET" not in err


def test_where_nothing_can_be_read_the_reason_is_said(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.with_name("waguard.toml").write_text("[api]\nport = 'wrong'\n")
    assert main(["alerts", "failed"]) == 2
    assert "api.port" in capsys.readouterr().err


def test_without_destinations_a_failure_is_reported_to_nobody(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.with_name("waguard.toml").write_text("")
    assert main(["alerts", "failed"]) == 0
    assert capsys.readouterr().out == "there is no destination\n"
