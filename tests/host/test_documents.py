"""The documents that are stored: what is kept, what is refused, what became of a file since."""

import errno
import lzma
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.documents import HTML, PORTAL, REVISION, UNSUPPORTED, URL, body
from tests.host.odd_files import Spoil, all_spoilt, mutations, refuse
from waguard.host.memory import documents
from waguard.host.memory.documents import Document, DocumentError, Documents

SPOILT: Final = all_spoilt()
DEADLINE: Final = 60.0  # s


def document(revision: int = REVISION, **changed: Any) -> Document:
    given: dict[str, Any] = {
        "revision": revision,
        "url": URL,
        "at": 1_732_233_600.5,
        "headers": (*HTML, ("content-security-policy", "default-src 'self'")),
        "wajs": "0f" * 32,
        "missing": ("ChatStore",),
        "body": body(revision),
    }
    return Document(**(given | changed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state/versions"


@pytest.fixture
def store(folder: Path) -> Documents:
    return Documents(folder)


def test_what_is_kept_is_loaded_as_it_was(store: Documents, folder: Path) -> None:
    assert store.known() == ()
    assert not store.has(REVISION)
    assert store.keep(document())
    assert store.keep(document(7))
    assert store.load(REVISION) == document()
    assert store.known() == (7, REVISION)
    assert store.has(REVISION)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir() if path.suffix != ".xz"] == []


def test_the_first_one_stays(store: Documents) -> None:
    assert store.keep(document())
    assert not store.keep(document(at=5.0))
    assert store.load(REVISION).at == document().at


def test_what_is_discarded_is_not_there(store: Documents) -> None:
    store.keep(document())
    store.discard(REVISION)
    store.discard(REVISION)
    assert store.known() == ()
    with pytest.raises(DocumentError, match=f"version {REVISION} is not stored"):
        store.load(REVISION)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"body": PORTAL}, "the document names no version of WhatsApp Web"),
        ({"body": UNSUPPORTED}, "the document is WhatsApp's page for browsers that it does not"),
        ({"body": body(whole=False)}, "the document is not whole"),
        ({"body": body(client=5)}, "the document contradicts itself"),
        ({"body": body(5)}, f"the document is version 5, and not {REVISION}"),
        ({"body": b"x" * (5 << 20) + body()}, "bytes; 4194304 at most"),
    ],
)
def test_what_is_no_document_is_not_kept(
    store: Documents, folder: Path, changed: dict[str, Any], why: str
) -> None:
    with pytest.raises(DocumentError, match=why):
        store.keep(document(**changed))
    assert not folder.exists()


def test_what_is_too_large_compressed_is_not_kept(folder: Path) -> None:
    with pytest.raises(DocumentError, match="bytes compressed; 100 at most are expected"):
        Documents(folder, file_limit=100).keep(document())
    assert not folder.exists()


def test_there_are_never_too_many(folder: Path) -> None:
    store = Documents(folder, most_files=2)
    store.keep(document(1))
    store.keep(document(2))
    with pytest.raises(DocumentError, match="2 documents are stored already"):
        store.keep(document(3))
    assert store.known() == (1, 2)
    store.discard(1)
    assert store.keep(document(3))


def spoil_content(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(path: Path, content: bytes) -> None:
        path.write_bytes(change(content))

    return spoil


def repacked(change: Callable[[bytes, bytes], bytes]) -> Spoil:
    """Sound xz with another content."""

    def spoil(path: Path, content: bytes) -> None:
        line, _, rest = lzma.decompress(content).partition(b"\n")
        path.write_bytes(lzma.compress(change(line, rest), preset=0))

    return spoil


def with_line(**changed: Any) -> Spoil:
    def change(line: bytes, rest: bytes) -> bytes:
        return msgspec.json.encode(msgspec.json.decode(line) | changed) + b"\n" + rest

    return repacked(change)


OTHER: Final = body(5)
DAMAGE: Final[dict[str, tuple[Spoil, str]]] = {
    "cut": (spoil_content(lambda it: it[:-40]), "it is not whole"),
    "a tail": (spoil_content(lambda it: it + b"more"), "it is not whole"),
    "plain": (spoil_content(lzma.decompress), "it cannot be decompressed"),
    "a bomb": (
        spoil_content(lambda _: lzma.compress(bytes(1 << 24), preset=0)),
        "it holds more than",
    ),
    "no line": (repacked(lambda _, rest: rest), "its first line is not what was written"),
    "nested": (repacked(lambda *_: b"[" * 10_000), "its first line is not what was written"),
    "another text": (repacked(lambda line, _: line + b"\n" + body(5)), "its SHA-256 differs"),
    "a half": (repacked(lambda line, rest: line + b"\n" + rest[:60]), "its SHA-256 differs"),
    "tomorrow's": (with_line(format=2), "its format is 2, and not 1"),
    "another version's line": (with_line(revision=5), f"it holds version {REVISION}"),
}


@pytest.mark.parametrize(("spoil", "why"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_and_quarantined(
    store: Documents, folder: Path, spoil: Spoil, why: str
) -> None:
    store.keep(document())
    store.keep(document(7))
    path = store.path(REVISION)
    spoil(path, path.read_bytes())
    with pytest.raises(DocumentError, match=why):
        store.load(REVISION)
    assert store.known() == (7,)
    assert (folder / f"{path.name}.unreadable").exists()
    assert store.keep(document())
    assert store.load(REVISION) == document()


def test_the_file_of_another_version_is_not_served(store: Documents) -> None:
    store.keep(document())
    store.path(REVISION).rename(store.path(5))
    with pytest.raises(DocumentError, match=f"it holds version {REVISION}"):
        store.load(5)
    assert store.known() == ()


@pytest.mark.parametrize(
    "spoil",
    [pytest.param(spoil, id=name) for name, spoil in SPOILT.items() if name != "a bad byte"],
)
def test_whatever_lies_there_is_not_served(store: Documents, spoil: Spoil) -> None:
    store.keep(document())
    path = store.path(REVISION)
    content = path.read_bytes()
    path.unlink()
    spoil(path, content)
    with pytest.raises(DocumentError, match=r"is not a stored document|is not stored"):
        store.load(REVISION)
    assert store.known() == ()


def test_what_the_system_does_not_let_be_read_says_nothing_of_what_is_in_it(
    store: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(document())
    with monkeypatch.context() as patch:
        refuse(patch, store.path(REVISION), errno.EMFILE)
        with pytest.raises(DocumentError, match="Too many open files"):
            store.load(REVISION)
    assert store.load(REVISION) == document()


def test_whatever_bytes_change_is_noticed(store: Documents) -> None:
    store.keep(document())
    path = store.path(REVISION)
    content = path.read_bytes()
    served = 0
    for odd in mutations(content):
        path.write_bytes(odd)
        try:
            assert store.load(REVISION) == document()
            served += 1
        except DocumentError:
            assert not path.exists()
    assert served < 10


def test_what_the_system_does_not_let_be_read_is_no_damage(
    store: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(document())

    def refuse(*_: object, **__: object) -> int:
        raise OSError(24, os.strerror(24))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(DocumentError, match="it cannot be opened: Too many open files"):
            store.load(REVISION)
    assert store.load(REVISION) == document()


def test_what_is_quarantined_is_bounded(store: Documents, folder: Path) -> None:
    for revision in range(1, 12):
        store.keep(document(revision))
        store.path(revision).write_bytes(b"")
        with pytest.raises(DocumentError):
            store.load(revision)
    assert len(list(folder.iterdir())) == documents.MOST_UNREADABLE


def test_a_full_disk_leaves_nothing_half(
    store: Documents, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.keep(document(7))

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.keep(document())
    assert [path.name for path in folder.iterdir()] == [store.path(7).name]


def test_a_draft_of_a_writer_that_was_killed_is_swept(store: Documents, folder: Path) -> None:
    store.keep(document(7))
    old = folder / f"{store.path(8).name}.1.new"
    new = folder / f"{store.path(9).name}.1.new"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (1.0, 1.0))
    store.keep(document())
    assert not old.exists()
    assert new.exists()
    assert store.known() == (7, REVISION)


def test_two_that_keep_the_same_one_at_once_do_no_harm(folder: Path) -> None:
    ready, failures = threading.Barrier(4), []

    def keep() -> None:
        ready.wait(DEADLINE)
        try:
            Documents(folder).keep(document())
            assert Documents(folder).load(REVISION) == document()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert failures == []
    assert [path.name for path in folder.iterdir()] == [Documents(folder).path(REVISION).name]
