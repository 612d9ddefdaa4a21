"""What the log never shows."""

import logging
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from loguru import logger

from tests.host.log_lines import configured, lines, read
from waguard.core.text.redaction import HIDDEN
from waguard.host.system import logs
from waguard.wire import bounds, calls, events, protocol, reports

pytestmark = pytest.mark.usefixtures("logging_restored")


BODY: Final = "Dear Mr Smith, the parcel is at the door"
SECRETS: Final = {
    "phone": "6281234567801",
    "spaced": "+62 812-3456-7801",
    "body": BODY,
    "key": "VtQx0tP7bZ2nA-key-of-the-api",
    "password": "p4ss-w0rd",
    "qr": "2@abcDEF0123456789abcdef,key+/=,identity,secret,1",
}


def shown(form: str, say: Any) -> str:
    out = configured(form)
    logs.hide(SECRETS["key"].encode(), SECRETS["password"])
    say()
    (line,) = lines(out)
    assert read(line)["level"] == "error"
    return out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("name", [name for name in SECRETS if name != "body"])
def test_no_secret_is_shown_by_a_message_a_field_or_an_exception(form: str, name: str) -> None:
    secret = SECRETS[name]
    error = RuntimeError(f"with {secret} in it")
    error.__cause__ = KeyError(secret)
    ways = [
        lambda: logger.error("it is {}", secret),
        lambda: logger.error("x", why=f"because of {secret}"),
        lambda: logger.error("x", many=[secret], path=Path(f"/x/{secret}")),
        lambda: logger.opt(exception=error).error("x"),
        lambda: logging.getLogger("lib").error("it is %s", secret),
    ]
    for say in ways:
        found = shown(form, say)
        assert secret not in found
        assert HIDDEN in found or "628123…801".replace("3…", "…") in found.replace(r"\u2026", "…")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"invalid literal: {BODY!r}"),
        KeyError(BODY),
        ExceptionGroup(
            "several", [ValueError(f"a row\nDETAIL:  Failing row contains (1, {BODY})")]
        ),
    ],
)
def test_what_an_error_quotes_is_not_shown(form: str, error: Exception) -> None:
    def say() -> None:
        try:
            try:
                raise error  # noqa: TRY301  # something to log
            except Exception as cause:
                raise RuntimeError("it failed") from cause
        except RuntimeError:
            logger.exception("x")

    found = shown(form, say)
    assert BODY not in found
    assert "it failed" in found
    assert "Traceback" in found


PRIVATE: Final = {
    calls.SendText: {"chat": "c", "text": BODY, "message_id": "i", "timeout": 1.0},
    reports.QrCode: {"raw": SECRETS["qr"], "count": 1, "expires_at": 1.0},
    calls.PairingCode: {"phone": SECRETS["phone"]},
    events.Edit: {
        "id": "i",
        "chat": "c",
        "sender": "s",
        "timestamp": 1,
        "message_id": "i",
        "body": BODY,
    },
    events.MessageError: {
        "what": "message",
        "id": "i",
        "chat": "c",
        "error": "e",
        "raw": BODY,
        "digest": "d",
    },
    events.InboundMessage: {
        "id": "i",
        "chat": "c",
        "sender": "s",
        "to": "t",
        "body": BODY,
        "timestamp": 1,
        "from_me": False,
        "kind": "chat",
    },
    calls.Value: {"text": "ABCD1234"},
}


@pytest.mark.parametrize(
    ("kind", "fields"), PRIVATE.items(), ids=lambda it: getattr(it, "__name__", "")
)
def test_what_is_said_on_the_wire_shows_nothing_of_it(kind: type, fields: dict[str, Any]) -> None:
    assert repr(kind(**fields)) == f"{kind.__name__}(…)"
    assert repr(protocol.Reply(id=1, outcome=calls.Value(text="ABCD"))) == (
        "Reply(id=1, outcome=Value(…))"
    )


def test_every_struct_of_the_wire_that_holds_a_text_is_private() -> None:
    texts = {"text", "body", "caption", "raw", "content", "media", "phone"}
    # the whole state of a session, or how it was started: texts of ours, and a number that is shortened
    states = {reports.Report}
    parts = (protocol, calls, reports, events)
    for kind in chain.from_iterable(vars(part).values() for part in parts):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in states:
            held = {field.name for field in msgspec.structs.fields(kind)} & texts
            if held and kind is not events.Event:  # its body is one of the others
                assert issubclass(kind, bounds.Private), kind
