import ssl
import subprocess
import sys

from waguard.host.process.certificates import read_later

IMPORTED = """
from waguard.host.process import garbage
with garbage.importing():
    from aiohttp import connector
context = connector._SSL_CONTEXT_VERIFIED
print(type(context).__name__, len(context.get_ca_certs()))
"""


def test_certificates_are_read_by_the_first_connection() -> None:
    with read_later():
        context = ssl.create_default_context()
    assert context.get_ca_certs() == []
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="waguard.invalid")
    usual = ssl.create_default_context()
    assert context.get_ca_certs() == usual.get_ca_certs()
    assert (type(context), context.verify_mode) == (type(usual), ssl.CERT_REQUIRED)


def test_the_import_of_the_daemon_reads_none() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", IMPORTED], check=True, capture_output=True)
    assert done.stdout.split() == [b"_WhenUsed", b"0"]
