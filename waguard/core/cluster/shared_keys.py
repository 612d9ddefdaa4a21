"""Issued keys that all hosts of a cluster accept: what a table of the database has, what a host knows, and what each learns of
the other. Pure.

A key is the same by its SHA-256. A revocation is final, whoever makes it, and whenever the others hear of it. That a key has
expired is each host's to see, by its own clocks: no clock that runs ahead ends a key for all.

Hosts seal each row with the key that all of them have: who can write the database, and has no such key, makes none and revives none.
"""

import hmac
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

from waguard.core import issued_keys
from waguard.core.issued_keys import IssuedKey
from waguard.core.replace import replace

_ID: Final = 8  # hexadecimal digits
_PURPOSE: Final = b"waguard-issued-keys-1"  # the same file encrypts credentials


def seal(
    record: str, *, version: int, ended_at: float | None, ended_by: str | None, key: bytes
) -> str:
    """The seal of a row, in hexadecimal digits: of the issued key as its ``record`` has it, and of its end (unix time, to the
    millisecond: a database may round it). When it was last used is not sealed."""
    end = None if ended_at is None else f"{ended_at:.3f}"
    said = json.dumps([version, record, end, ended_by])
    return hmac.digest(hmac.digest(key, _PURPOSE, "sha256"), said.encode(), "sha256").hex()


def is_seal(text: str, expected: str) -> bool:
    """Whether a row has the seal that it should have. In constant time."""
    return hmac.compare_digest(text.encode(), expected.encode())


def learned(known: Mapping[str, IssuedKey], rows: Iterable[IssuedKey]) -> dict[str, IssuedKey]:
    """What this host knows, by id, after it has read the rows."""
    by_hash = {it.sha256: it for it in known.values()}
    new = {row.sha256: _renewed(row, by_hash.get(row.sha256)) for row in rows}
    found = {it.id: it for it in new.values()}
    for it in by_hash.values():
        if it.sha256 not in new:
            # two hosts may have drawn the same id before they shared their keys
            own = it if it.id not in found else replace(it, id=_another_id(it, found))
            found[own.id] = own
    return found


def unsent(rows: Iterable[IssuedKey], known: Iterable[IssuedKey]) -> Sequence[IssuedKey]:
    """Keys that the table lacks, and those that it does not know to be revoked.

    One that has ended and is in no row is nobody's any more, so that no host brings back what all have forgotten.
    """
    by_hash = {it.sha256: it for it in rows}
    return [it for it in known if _is_news(it, by_hash.get(it.sha256))]


def used(rows: Iterable[IssuedKey], known: Iterable[IssuedKey]) -> dict[str, float]:
    """By SHA-256, last uses (unix time) that are later than the table has them."""
    before = {it.sha256: it.used_at or 0.0 for it in rows}
    return {
        it.sha256: it.used_at
        for it in known
        if it.used_at is not None and it.sha256 in before and it.used_at > before[it.sha256]
    }


def _is_news(known: IssuedKey, row: IssuedKey | None) -> bool:
    if row is None:
        return known.ended_at is None
    return known.ended_by is not None and row.ended_at is None


def _renewed(row: IssuedKey, known: IssuedKey | None) -> IssuedKey:
    if known is None:
        return row
    times = [it for it in (row.expires_at, known.expires_at) if it is not None]
    uses = [it for it in (row.used_at, known.used_at) if it is not None]
    ends = row if row.ended_at is not None and known.ended_by is None else known
    return replace(
        row,
        expires_at=min(times, default=None),
        used_at=max(uses, default=None),
        ended_at=ends.ended_at,
        ended_by=ends.ended_by,
    )


def _another_id(it: IssuedKey, taken: Container[str]) -> str:
    digits = issued_keys.digest(it.sha256)
    ids = (digits[at : at + _ID] for at in range(len(digits) - _ID))
    return next(one for one in ids if one not in taken and not one.isdecimal())
