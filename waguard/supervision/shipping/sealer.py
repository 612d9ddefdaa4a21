"""What is written of credentials into the database, and read back: compressed, then sealed."""

import zlib
from typing import Final

import msgspec

from waguard.core.shipping import FORMAT, Claim, Part, Shipment, about
from waguard.host.files.sealing import seal, unseal
from waguard.host.small_file import UnreadableError

LEVEL: Final = 1  # zlib's; the tables are compressed already


class Sealer:
    """``key``: by which hosts share credentials. All of it blocks for some milliseconds."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def part(self, session: str, epoch: int, file: str, number: int, content: bytes) -> Part:
        """A piece of a file."""
        sealed = self._sealed(content, about(session, epoch, file, number))
        return Part(file=file, number=number, epoch=epoch, sealed=sealed)

    def opened(self, session: str, part: Part) -> bytes:
        """The content of a part. Raises ``UnreadableError``."""
        return self._opened(part.sealed, about(session, part.epoch, part.file, part.number))

    def shipment(self, session: str, epoch: int, it: Shipment) -> bytes:
        """As a claim has it."""
        return self._sealed(msgspec.json.encode(it), about(session, epoch, "", 0))

    def shipment_of(self, session: str, claim: Claim) -> Shipment:
        """What a claim says was shipped. Raises ``UnreadableError``."""
        packed = self._opened(claim.sealed or b"", about(session, claim.sealed_epoch, "", 0))
        try:
            found = msgspec.json.decode(packed, type=Shipment)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableError(f"it is not what waguard ships: {error}") from None
        if found.format != FORMAT:
            raise UnreadableError(f"another waguard shipped it (format {found.format})")
        return found

    def _sealed(self, content: bytes, bound_to: bytes) -> bytes:
        return seal(self._key, zlib.compress(content, LEVEL), bound_to)

    def _opened(self, sealed: bytes, bound_to: bytes) -> bytes:
        try:
            return zlib.decompress(unseal(self._key, sealed, bound_to))
        except zlib.error as error:
            raise UnreadableError(f"it is not what waguard ships: {error}") from None
