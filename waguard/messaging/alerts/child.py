"""The process that delivers one notice by a library that blocks: mail by smtplib, the other services by Apprise.

A ``Job`` comes on standard input: arguments would show its secrets to every user. Why it failed goes to standard
output as JSON, null where it was accepted.
"""

import contextlib
import io
import ipaddress
import resource
import smtplib
import socket
import ssl
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from waguard.core import outgoing_address as address
from waguard.core.alerts import forms
from waguard.core.alerts.forms import Job

_PORTS: Final = {"smtp": 587, "smtps": 465}
_REPLY: Final = 2_000  # characters of what a server said
MEMORY: Final = (
    512 << 20
)  # bytes of addresses; ten times what mail takes: smtplib collects all that a server says


def run(job: Job) -> str | None:
    """Why it failed; None: it was accepted."""
    try:
        return _apprise(job) if job.destination.kind == "apprise" else _mail(job)
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error
        words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        return f"the server answered {error.smtp_code}: {words}"
    except smtplib.SMTPRecipientsRefused:
        return "the server refused the recipient"
    except smtplib.SMTPException as error:
        return f"the server did not take it: {error}"
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    except MemoryError:
        return "it took too much memory: the server says too much"


def _apprise(job: Job) -> str | None:
    try:
        import apprise  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError:
        return "Apprise is not installed: see docs/alerts.md"
    service = apprise.Apprise()
    if not service.add(job.destination.url):
        return "Apprise does not know this address"
    with contextlib.redirect_stdout(io.StringIO()):  # it is for the reply alone
        accepted = service.notify(body=forms.body(job.notice), title=job.notice.title)
    return None if accepted else "Apprise could not deliver it"


def _mail(job: Job) -> str | None:
    parts = urlsplit(job.destination.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    tls = ssl.create_default_context()
    encrypted = parts.scheme == "smtps"
    server = _connected(host, port, tls if encrypted else None, job.within)
    try:
        assert server.sock  # noqa: S101 - connected
        there = server.sock.getpeername()[0]
        if why := address.refusal(there, allow_private=True):
            return f"the address is refused: {why}"
        server.ehlo()
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=tls)
            encrypted = True
        if parts.username:
            if not encrypted and not ipaddress.ip_address(there).is_loopback:
                return "the server offers no encryption for the password (STARTTLS)"
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(_message(job))
    finally:
        # what it says to the end changes nothing: the mail is accepted, or refused
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()
    return None


def _connected(host: str, port: int, tls: ssl.SSLContext | None, within: float) -> smtplib.SMTP:
    if tls:
        return smtplib.SMTP_SSL(host, port, timeout=within, context=tls)
    return smtplib.SMTP(host, port, timeout=within)


def _message(job: Job) -> EmailMessage:
    sender, recipient = job.destination.words
    message = EmailMessage()
    message["From"], message["To"] = sender, recipient
    message["Subject"] = job.notice.title
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=socket.gethostname())
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(forms.body(job.notice) + "\n")
    return message


def main(memory: int = MEMORY) -> None:
    """Do the job of standard input. ``memory``: bytes that it may take."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    why = run(job)
    # before it is cut, for half of a secret is not found any more
    reply = why and job.destination.without_secrets(why)[:_REPLY]
    sys.stdout.write(msgspec.json.encode(reply).decode())


if __name__ == "__main__":
    main()
