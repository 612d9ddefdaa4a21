"""Each kind of destination, with a receiver on this machine: what arrives, and what is said where nothing does."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_string, policy
from pathlib import Path
from typing import Any, Final

import pytest

from tests.messaging.alert_receiver import AlertReceiver, alert_receiver
from tests.ports import reserved_port
from waguard.core.alerts import notice
from waguard.core.alerts.destinations import AlertDestination, parse
from waguard.core.replace import replace
from waguard.messaging.alerts.delivery import deliver

NOTICE: Final = replace(
    notice.of_test(host="wa1", page="https://wa.example"), title="ö is no ASCII, and a long title"
)
SECRET: Final = "a-secret-of-the-line"


def one(line: str) -> AlertDestination:
    [found], _ = parse(line)
    return found


@pytest.fixture
async def receiver() -> AsyncIterator[AlertReceiver]:
    async with alert_receiver() as made:
        yield made


# ---- by HTTP ----


@pytest.mark.parametrize(
    ("line", "path", "key"),
    [
        ("webhook {url}/a " + SECRET, "/a", "event"),
        ("slack {url}/b", "/b", "text"),
        ("ntfy {url}/topic", "/", "message"),
        ("telegram {url} 12:AB -100", "/bot12:AB/sendMessage", "chat_id"),
    ],
)
async def test_it_arrives_in_the_form_of_its_kind(
    receiver: AlertReceiver, line: str, path: str, key: str
) -> None:
    assert await deliver(one(line.format(url=receiver.url)), NOTICE) is None
    [(method, called, headers, body)] = receiver.calls
    assert (method, called, headers["Content-Type"]) == ("POST", path, "application/json")
    assert key in body
    assert headers.get("Authorization") == (f"Bearer {SECRET}" if SECRET in line else None)


async def test_what_is_refused_is_said(receiver: AlertReceiver) -> None:
    receiver.answers.extend([401, 302])
    to = one(f"webhook {receiver.url} {SECRET}")
    assert await deliver(to, NOTICE) == "it answered 401"
    assert await deliver(to, NOTICE) == "it answered 302", "no redirect is followed"
    assert len(receiver.calls) == 2


async def test_nobody_is_called_who_may_not_be() -> None:
    to = replace(one("webhook http://a.example/"), url="http://169.254.169.254/latest")
    assert (
        await deliver(to, NOTICE)
        == "the address is refused: it is a link-local or metadata address"
    )


# ---- by mail ----


@dataclass
class Post:
    """A mail server: it takes mail, or answers each command in ``answers`` with what stands there."""

    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    silent: bool = False
    endless: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await reader.read()
            writer.close()
            return
        with contextlib.suppress(ConnectionError):
            while self.endless:
                writer.write(b"220-here, " + b"and here, " * 800 + b"\r\n")
                await writer.drain()
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            command = line.split()[0].upper()
            self.commands.append(command)
            if command == "DATA" and command not in self.answers:
                writer.write(b"354 go on\r\n")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(f"{self.answers.get(command, '250 done')}\r\n".encode())
            if command == "QUIT":
                break
        writer.close()


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    made = Post()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def mail(post: Post, *, user: str = "") -> AlertDestination:
    return one(f"mail smtp://{user}127.0.0.1:{post.port} waguard@example.org ops@example.org")


async def test_a_mail_arrives(post: Post) -> None:
    assert await deliver(mail(post), NOTICE, within=60.0) is None
    [text] = post.mails
    found = message_from_string(text, policy=policy.default)
    assert (found["To"], found["From"]) == ("ops@example.org", "waguard@example.org")
    assert found["Subject"] == NOTICE.title
    assert found["Auto-Submitted"] == "auto-generated"
    assert [NOTICE.text, NOTICE.page, "."] == [*filter(None, found.get_content().splitlines())]


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("MAIL", "550 no such sender", "the server answered 550: no such sender"),
        ("RCPT", "550 no such user", "the server refused the recipient"),
        ("DATA", f"554 not {SECRET}", "the server answered 554: not …"),
    ],
)
async def test_what_a_mail_server_refuses_is_said(
    post: Post, command: str, answer: str, said: str
) -> None:
    post.answers[command] = answer
    to = mail(post, user=f"ops:{SECRET}@") if SECRET in answer else mail(post)
    post.answers["EHLO"] = "250-here\r\n250 AUTH PLAIN"
    post.answers["AUTH"] = "235 welcome"
    assert await deliver(to, NOTICE, within=60.0) == said


async def test_a_mail_server_that_is_not_there_is_said() -> None:
    with reserved_port() as port:
        said = await deliver(mail(Post(port)), NOTICE, within=60.0)
    assert said == "no connection: Connection refused"


async def test_a_mail_server_that_says_nothing_is_given_up_and_its_process_killed(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.silent = True
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def starting(*command: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*command, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    assert await deliver(mail(post), NOTICE, within=0.2) == "it took longer than 0.2 s"
    assert [it.returncode for it in started] == [-9]


async def test_a_mail_server_that_says_too_much_takes_no_memory(post: Post) -> None:
    post.endless = True
    limited = f"from waguard.messaging.alerts import child; child.main({80 << 20})"
    said = await deliver(
        mail(post), NOTICE, within=60.0, child=(sys.executable, "-P", "-c", limited)
    )
    assert said == "it took too much memory: the server says too much"


async def test_no_half_of_a_secret_is_left_where_a_long_answer_is_cut(post: Post) -> None:
    post.answers |= {"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "235 welcome"}
    post.answers["MAIL"] = f"550 {SECRET * 150}"
    said = await deliver(mail(post, user=f"ops:{SECRET}@"), NOTICE, within=60.0)
    assert said == f"the server answered 550: {'…' * 150}"


async def test_a_process_that_cannot_be_started_or_fails_is_said(
    post: Post, tmp_path: Path
) -> None:
    said = await deliver(mail(post), NOTICE, child=(str(tmp_path / "nothing"),))
    assert said == "no process can be started for it: No such file or directory"
    fails = (sys.executable, "-c", "raise SystemExit(1)")
    assert await deliver(mail(post), NOTICE, within=60.0, child=fails) == (
        "the process that delivers it failed"
    )


async def test_what_is_no_text_starts_no_process(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would end it."""
    monkeypatch.setattr(asyncio, "create_subprocess_exec", None)
    with pytest.raises(ValueError, match="surrogates"):
        await deliver(mail(post), replace(NOTICE, title="jos\udce9"))


# ---- by Apprise ----


FAKE: Final = """
import json, pathlib
class Apprise:
    def add(self, url): self.url = url; return "unknown" not in url
    def notify(self, body, title):
        print("a library that prints")
        pathlib.Path(self.url.removeprefix("file://")).write_text(json.dumps([title, body]))
        return "refused" not in self.url
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("taken", None),
        ("refused", "Apprise could not deliver it"),
        ("unknown", "Apprise does not know this address"),
    ],
)
async def test_apprise_is_asked_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str | None
) -> None:
    (tmp_path / "apprise.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert await deliver(one(f"apprise file://{tmp_path}/{name}"), NOTICE, within=60.0) == said
    if name != "unknown":
        title, body = json.loads((tmp_path / name).read_text())
        assert (title, NOTICE.text in body) == (NOTICE.title, True)


async def test_without_apprise_its_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = await deliver(one("apprise json://a.example"), NOTICE, within=60.0)
    assert said == "Apprise is not installed: see docs/alerts.md"
