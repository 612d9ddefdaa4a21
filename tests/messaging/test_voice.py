"""Voice notes: what is one goes as it is, other audio through ffmpeg, within its bounds."""

from pathlib import Path

import pytest

from waguard.core.messages.received_media import MEDIA_LIMIT
from waguard.errors import WaguardError
from waguard.messaging.outbox.commands import Media
from waguard.messaging.outbox.voice import OPUS, Voices

NOTE = b"OggS" + bytes(24) + b"OpusHead"
HEAD = "printf OggS; head -c 24 /dev/zero; printf OpusHead"
PROGRAMS = {
    f'{HEAD}; [[ "$*" =~ file:([^ ]*) ]] && cat "${{BASH_REMATCH[1]}}"': None,
    "echo 'Invalid data' >&2; exit 1": "Invalid data",
    "echo no Ogg": "ffmpeg ended with 0",
    f"{HEAD}; exec cat /dev/zero": f"it has more than {MEDIA_LIMIT} bytes",
    "exec sleep 60": "it took longer than 0.2 s",
    "kill -9 $$": "ffmpeg ended with -9",
}


def audio(content: bytes) -> Media:
    return Media(content=content, mimetype="audio/mpeg", kind="voice")


async def test_what_is_opus_goes_as_it_is() -> None:
    made = await Voices("no-such-program").voice_note(audio(NOTE), "media")
    assert (made.content, made.mimetype, made.kind) == (NOTE, OPUS, "voice")


async def test_without_ffmpeg_it_says_what_to_do() -> None:
    with pytest.raises(WaguardError, match="ffmpeg is not installed") as it:
        await Voices("no-such-program").voice_note(audio(b"ID3"), "media_url")
    assert (it.value.status, it.value.field) == (422, "media_url")


async def test_other_audio_is_converted_within_bounds(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    program = tmp_path / "ffmpeg"
    for script, why in PROGRAMS.items():
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o700)
        voices = Voices(str(program), within=0.2 if "sleep" in script else 30.0)
        with subtests.test(script=script):
            if why is None:
                made = await voices.voice_note(audio(b"a song"), "media")
                assert (made.content, made.mimetype) == (NOTE + b"a song", OPUS)
                continue
            with pytest.raises(WaguardError) as it:
                await voices.voice_note(audio(b"a song"), "media")
            assert it.value.message == f"the audio was not converted to a voice note: {why}"
            assert (it.value.status, it.value.field) == (422, "media")
