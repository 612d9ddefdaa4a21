"""The journal's native protocol, on a socket of the test's own."""

import array
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from waguard.host.system import journald as journal
from waguard.host.system.journald import Journal


@dataclass
class Journald:
    """Reads entries as systemd's does."""

    path: Path
    socket: socket.socket

    def entry(self) -> dict[str, str]:
        """The next one; a large one comes as a file."""
        content, ancillary, *_ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if ancillary:
            assert content == b""
            descriptors = array.array("i", ancillary[0][2])
            with os.fdopen(descriptors[0], "rb") as file:
                with pytest.raises(PermissionError):
                    os.ftruncate(file.fileno(), 0)  # nobody can change what the journal reads
                file.seek(0)
                content = file.read()
        return parsed(content)


def parsed(content: bytes) -> dict[str, str]:
    """As the protocol has it."""
    fields: dict[str, str] = {}
    while content:
        line, _, rest = content.partition(b"\n")
        name, has_value, value = line.partition(b"=")
        if not has_value:
            size = struct.unpack("<Q", rest[:8])[0]
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields[name.decode()] = value.decode()
        content = rest
    return fields


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(10)
    return listener


@pytest.fixture
def journald(short_path: Path) -> Iterator[Journald]:
    path = short_path / "j"
    with listen(path) as listener:
        yield Journald(path, listener)


FIELDS = (
    ("MESSAGE", "up = yes"),
    ("EVENT", "daemon_up"),
    ("WHY", "two\nlines=1\n"),
    ("X", "é\udc80"),
)


def test_an_entry_has_its_fields(journald: Journald) -> None:
    log = Journal(journald.path)
    assert log.send(journal.entry(FIELDS), 1.0)
    assert journald.entry() == {**dict(FIELDS), "X": r"é\udc80"}
    log.close()


def test_what_is_too_large_for_a_datagram_goes_as_a_sealed_file(journald: Journald) -> None:
    log, large = Journal(journald.path), "line\n" * 1_000_000
    assert log.send(journal.entry([("MESSAGE", large), ("EVENT", "bug")]), 1.0)
    assert log.send(journal.entry([("MESSAGE", "small")]), 1.0)
    assert journald.entry() == {"MESSAGE": large, "EVENT": "bug"}
    assert journald.entry() == {"MESSAGE": "small"}
    log.close()


def test_a_journal_that_does_not_read_is_not_waited_for(journald: Journald) -> None:
    log = Journal(journald.path)
    sent = 0
    while log.send(b"MESSAGE=x\n", 0.0):
        sent += 1
    assert 0 < sent < 10_000
    assert not log.send(b"MESSAGE=x\n", 0.01)
    journald.entry()
    assert log.send(b"MESSAGE=y\n", 0.0)
    log.close()


def test_a_journal_that_was_restarted_is_found_again(journald: Journald) -> None:
    log = Journal(journald.path)
    journald.socket.close()
    assert not log.send(b"MESSAGE=lost\n", 0.0)
    journald.path.unlink()
    assert not log.send(b"MESSAGE=lost\n", 0.0)
    with listen(journald.path) as restarted:
        assert log.send(b"MESSAGE=back\n", 0.0)
        assert restarted.recv(100) == b"MESSAGE=back\n"
    log.close()


def test_where_no_journal_is(short_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(short_path / "none")
