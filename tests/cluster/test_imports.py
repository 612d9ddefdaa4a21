"""One host alone has nothing of a cluster."""

import subprocess
import sys


def test_a_daemon_imports_no_engine() -> None:
    code = (
        "import sys, waguard.daemon.root\n"
        "sys.exit(', '.join(name for name in sys.modules if name.startswith('waguard.cluster')) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
