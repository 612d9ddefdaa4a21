"""Voice notes: WhatsApp plays Opus in an Ogg file. Other audio is converted by ffmpeg, where it is installed."""

import asyncio
import contextlib
import os
import shutil
from dataclasses import replace
from typing import BinaryIO, Final

from waguard.core.messages.received_media import MEDIA_LIMIT
from waguard.errors import UnavailableError, WaguardError, printable
from waguard.messaging.outbox.commands import Media

OPUS: Final = "audio/ogg; codecs=opus"
AT_ONCE: Final = 2
WITHIN: Final = 30.0  # s
MEMORY: Final = 1 << 30  # bytes of addresses
_SHOWN: Final = 200  # characters of what ffmpeg says
# a playlist may name files of this machine and addresses of its network: none is read
_FORMATS: Final = "aac,ac3,aiff,amr,flac,matroska,mov,mp3,ogg,wav"
_CONVERT: Final = (
    *("-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1"),
    *("-protocol_whitelist", "file", "-format_whitelist", _FORMATS),
)
_TO_OPUS: Final = (
    *("-map", "0:a:0", "-map_metadata", "-1", "-ac", "1", "-ar", "48000", "-threads", "1"),
    *("-c:a", "libopus", "-b:a", "32k", "-application", "voip", "-f", "ogg", "pipe:1"),
)


class NotConvertedError(WaguardError):
    """The audio cannot be sent as a voice note; nothing was sent."""

    status = 422


class Voices:
    """Converts ``AT_ONCE`` at a time. ``ffmpeg`` is the program, ``within`` seconds for one."""

    def __init__(self, ffmpeg: str = "ffmpeg", *, within: float = WITHIN) -> None:
        self._ffmpeg = ffmpeg
        self._within = within
        self._places = asyncio.Semaphore(AT_ONCE)

    async def voice_note(self, media: Media, name: str) -> Media:
        """The audio as Ogg with Opus; ``name`` is the request's field. Raises ``NotConvertedError``,
        ``UnavailableError`` while too many others are converted."""
        content = media.content
        if not _is_opus(content):
            content = await self._convert(content, name)
        return replace(media, content=content, mimetype=OPUS)

    async def _convert(self, content: bytes, name: str) -> bytes:
        program = shutil.which(self._ffmpeg)
        if program is None:
            raise NotConvertedError(
                "a voice note is Opus in an Ogg file, and ffmpeg is not installed to convert this one",
                field=name,
                remedy="send Ogg with Opus, install ffmpeg, or send it with type audio",
            )
        try:
            async with asyncio.timeout(self._within):
                await self._places.acquire()
        except TimeoutError:
            raise UnavailableError(
                "too many voice notes are converted", field=name, retry_after=self._within
            ) from None
        try:
            return await self._run(program, content, name)
        finally:
            self._places.release()

    async def _run(self, program: str, content: bytes, name: str) -> bytes:
        with _memory() as given, _memory() as made, _memory() as said:
            # a film's index may be at its end: it is sought
            await asyncio.to_thread(given.write, content)
            file = given.fileno()
            process = None
            try:
                # in the daemon's own session: what is in another one is reaped as an orphan
                process = await asyncio.create_subprocess_exec(
                    *("prlimit", f"--as={MEMORY}", f"--cpu={int(self._within) + 1}"),
                    *(f"--fsize={MEDIA_LIMIT}", program, *_CONVERT),
                    *("-i", f"file:/proc/self/fd/{file}", *_TO_OPUS),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=made,
                    stderr=said,
                    pass_fds=(file,),
                )
                async with asyncio.timeout(self._within):
                    await process.wait()
            except OSError as error:  # a TimeoutError is one
                why = error.strerror or f"it took longer than {self._within:g} s"
                raise _failed(why, name) from None
            finally:
                await _end(process)
            note = await asyncio.to_thread(_content, made)
            if len(note) >= MEDIA_LIMIT:
                raise _failed(f"it has more than {MEDIA_LIMIT} bytes", name)
            if process.returncode or not _is_opus(note):
                line = _content(said, _SHOWN).decode(errors="replace").partition("\n")[0]
                why = printable(line.rpartition("] ")[2])  # without the part of ffmpeg that says it
                raise _failed(why or f"ffmpeg ended with {process.returncode}", name)
            return note


def _memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("voice"), "r+b", buffering=0)


def _content(file: BinaryIO, most: int = MEDIA_LIMIT) -> bytes:
    return os.pread(file.fileno(), most, 0)


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _is_opus(content: bytes) -> bool:
    """Whether the first page of an Ogg file begins an Opus stream."""
    return content.startswith(b"OggS") and content[28:36] == b"OpusHead"


def _failed(why: str, name: str) -> NotConvertedError:
    return NotConvertedError(
        f"the audio was not converted to a voice note: {why}",
        field=name,
        remedy="send Ogg with Opus, or send it with type audio",
    )
