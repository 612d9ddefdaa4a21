"""What is kept of a message: the same bytes in each version, for a repetition is known by them."""

import pytest

from waguard.messaging.outbox.commands import Command, Media, body_of, command_of, file, text

CHAT = "6281234567890@c.us"
REST = b'"quoted":null,"mentions":[],"first_contact_check":false,"absent":false}'


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (
            text(CHAT, 'a ,"hold":false ü'),
            b'{"type":"text","chat":"6281234567890@c.us","text":"a ,\\"hold\\":false \xc3\xbc",'
            b'"message_id":"","timeout":0.0,' + REST,
        ),
        (
            file(CHAT, Media(content=b"x", mimetype="a/b", kind="document")),
            b'{"type":"media","chat":"6281234567890@c.us","content":"","mimetype":"a/b",'
            b'"kind":"document","message_id":"","timeout":0.0,"filename":null,"caption":null,'
            + REST,
        ),
    ],
    ids=["text", "file"],
)
def test_the_bytes_of_a_message_stay(command: Command, kept: bytes) -> None:
    assert body_of(command) == kept
    assert command_of(kept, b"x") == command
