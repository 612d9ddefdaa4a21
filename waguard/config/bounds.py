"""What a number of the configuration may be: the type says what is allowed."""

from typing import Annotated

import msgspec

from waguard.core.messages.received_media import MEDIA_LIMIT

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=86400)]
LongSeconds = Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)]
SentinelInterval = Annotated[float, msgspec.Meta(ge=600, le=86400)]
LeaseMargin = Annotated[float, msgspec.Meta(ge=1, le=3600)]
HostLease = Annotated[float, msgspec.Meta(ge=8, le=600)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=60_000)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]
Inline = Annotated[int, msgspec.Meta(ge=0, le=MEDIA_LIMIT)]
FileSize = Annotated[int, msgspec.Meta(ge=1, le=2_048)]  # MB; WhatsApp takes no larger one
