"""Write the golden files that are missing: ``python -m tests.golden``. One that is there stays as it is."""

import asyncio
import tempfile
from pathlib import Path

from tests.golden import configuration, rows
from tests.golden.formats import Format
from tests.golden.test_formats import FORMATS


def _written(one: Format) -> None:
    if one.path.exists():
        return
    one.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wg-") as folder:
        one.path.write_bytes(one.write(Path(folder)))
    print(one.path)


if __name__ == "__main__":
    for each in FORMATS:
        _written(each)
    configuration.write()
    asyncio.run(rows.write())
