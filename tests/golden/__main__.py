"""Write the golden files that are missing: ``python -m tests.golden``. One that is there stays as it is, but
for what messages and words were added since."""

import asyncio
import tempfile
from pathlib import Path

import msgspec

from tests.golden import configuration, rows
from tests.golden.formats import Format, merged
from tests.golden.test_formats import FORMATS


def _written(one: Format) -> None:
    if one.path.exists() and not one.grows:
        return
    one.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wg-") as folder:
        content = one.write(Path(folder))
    kept = one.path.read_bytes() if one.path.exists() else None
    if kept is not None:
        whole = merged(msgspec.json.decode(kept), msgspec.json.decode(content))
        content = msgspec.json.format(msgspec.json.encode(whole), indent=1)
    if content != kept:
        one.path.write_bytes(content)
        print(one.path)


if __name__ == "__main__":
    for each in FORMATS:
        _written(each)
    configuration.write()
    asyncio.run(rows.write())
