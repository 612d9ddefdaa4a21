"""The end of a process whose output nobody may take."""

import subprocess
import sys

import pytest

LEAVE = "from waguard.host.process.departure import leave; print('last words'); leave(7)"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_the_exit_code_is_kept_where_an_output_is_closed(closed: str) -> None:
    script = f'exec "$0" -P -c "$1" {closed}'
    ended = subprocess.run(["/bin/sh", "-c", script, sys.executable, LEAVE], check=False)
    assert ended.returncode == 7
