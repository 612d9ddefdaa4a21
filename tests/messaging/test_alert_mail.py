"""What a mail's password is said to, and to whom nothing is said: servers that this machine cannot have."""

import smtplib
from typing import Any, Final

import pytest

from waguard.core.alerts import notice
from waguard.core.alerts.destinations import parse
from waguard.core.alerts.forms import Job
from waguard.messaging.alerts import child

NOTICE: Final = notice.of_test(host="wa1", page=None)


class Server:
    """A mail server at ``peer``, which offers STARTTLS or does not; ``heard`` is what it heard."""

    def __init__(self, peer: str, *, starttls: bool = False) -> None:
        self.peer = peer
        self.offers = starttls
        self.heard: list[str] = []
        self.sock = self

    def getpeername(self) -> tuple[str, int]:
        return self.peer, 587

    def ehlo(self) -> None:
        self.heard.append("ehlo")

    def has_extn(self, _: str) -> bool:
        return self.offers

    def starttls(self, **_: object) -> None:
        self.heard.append("starttls")

    def login(self, user: str, password: str) -> None:
        self.heard.append(f"login {user} {password}")

    def send_message(self, _: object) -> None:
        self.heard.append("mail")

    def quit(self) -> None:
        raise smtplib.SMTPServerDisconnected("it is gone")


@pytest.mark.parametrize(
    ("scheme", "server", "said", "heard"),
    [
        ("smtp", Server("192.0.2.1", starttls=True), None, ["ehlo", "starttls", "login a@b p:w", "mail"]),
        ("smtps", Server("192.0.2.1"), None, ["ehlo", "login a@b p:w", "mail"]),
        ("smtp", Server("127.0.0.1"), None, ["ehlo", "login a@b p:w", "mail"]),
        ("smtp", Server("192.0.2.1"), "the server offers no encryption", ["ehlo"]),
        ("smtp", Server("169.254.169.254"), "the address is refused", []),
        ("smtps", Server("fd00:ec2::254"), "the address is refused", []),
    ],
)  # fmt: skip
def test_a_password_is_encrypted_and_no_metadata_service_hears_anything(
    monkeypatch: pytest.MonkeyPatch, scheme: str, server: Server, said: str | None, heard: list[str]
) -> None:
    def connected(host: str, port: int, **_: Any) -> Server:
        assert (host, port) == ("mail.example", 465 if scheme == "smtps" else 587)
        return server

    monkeypatch.setattr(smtplib, "SMTP", connected)
    monkeypatch.setattr(smtplib, "SMTP_SSL", connected)
    [to], _ = parse(f"mail {scheme}://a%40b:p%3Aw@mail.example from@b to@b")
    found = child.run(Job(destination=to, notice=NOTICE, within=1.0))
    assert (found or "").startswith(said or "")
    assert (found is None, server.heard) == (said is None, heard)
