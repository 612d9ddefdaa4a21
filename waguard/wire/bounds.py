"""What a worker may say: words, numbers and sizes. The daemon reads nothing that does not fit them."""

from typing import Annotated

from msgspec import Meta, Struct

from waguard.core.messages.content import CONTENT_LIMIT
from waguard.core.messages.received_media import MEDIA_LIMIT

# what a worker may say; its own bounds, in ``worker/page/page_reports.py``, are no wider. Texts in characters
Id = Annotated[str, Meta(max_length=256)]
Chat = Annotated[str, Meta(max_length=128)]
Word = Annotated[str, Meta(max_length=128)]
Name = Annotated[str, Meta(max_length=256)]
Filename = Annotated[str, Meta(max_length=1_024)]
Text = Annotated[str, Meta(max_length=66_000)]
Words = Annotated[str, Meta(max_length=4_096)]
Content = Annotated[str, Meta(max_length=CONTENT_LIMIT)]
Raw = Annotated[str, Meta(max_length=8_192)]
# JSON of what the page is asked, and of what it answers
ANSWER_LIMIT = 1_000_000
Answer = Annotated[str, Meta(max_length=ANSWER_LIMIT)]
File = Annotated[bytes, Meta(max_length=MEDIA_LIMIT)]
# LIDs that a text shows; a group has at most so many participants
Mentioned = Annotated[tuple[Chat, ...], Meta(max_length=1_024)]
# of a group; of a larger one, as a community's, so many
Participants = Annotated[tuple[Chat, ...], Meta(max_length=1_024)]
Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,20}\Z")]
Code = Annotated[str, Meta(pattern=r"\A[ -~]{1,1000}\Z")]
Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
Pid = Annotated[int, Meta(ge=2, le=1 << 22)]
ExitCode = Annotated[int, Meta(ge=0, le=255)]
AckLevel = Annotated[int, Meta(ge=-1, le=4)]
# unix time in seconds, to the end of the year 9999
At = Annotated[float, Meta(ge=0, le=253_402_300_799)]
AtSecond = Annotated[int, Meta(ge=0, le=253_402_300_799)]
RoundTrip = Annotated[float, Meta(ge=0, le=86_400)]
RetryAfter = Annotated[float, Meta(ge=0, le=86_400)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Names = Annotated[tuple[Word, ...], Meta(max_length=100)]


class Private(Struct, frozen=True, kw_only=True):
    """Holds what somebody wrote, or what opens a session: no error and no log shows it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"
