"""A self-signed certificate, and the key pin that makes Chromium trust it and no other. With a key file the pin is the
same after a restart: the certificate is made again, for the same key."""

import base64
import datetime as dt
import hashlib
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from waguard.errors import WaguardError
from waguard.host.files.private_files import private_folders, replace_private

LIFETIME = dt.timedelta(
    days=30
)  # a demo may run long; the key never leaves memory for longer than a load


def make_certificate(
    host: str, *others: str, key_file: Path | None = None
) -> tuple[ssl.SSLContext, str]:
    """A server context for these hosts, and the base64 sha256 of its public key (SPKI). Raises ``WaguardError`` where
    ``key_file`` cannot be used; None: a key for this run alone."""
    key = _kept(key_file) if key_file else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in (host, *others)]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + _pem(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # ssl reads certificates from files only
    with tempfile.TemporaryDirectory(prefix="waguard-standin-") as folder:
        path = Path(folder, "standin.pem")
        path.write_bytes(pem)
        context.load_cert_chain(path)
    return context, base64.b64encode(hashlib.sha256(spki).digest()).decode()


def _kept(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of the file, which is made where it is missing."""
    try:
        if not path.exists():
            private_folders(path.parent)
            replace_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(path, "it holds another kind of key")
    return key


def _unusable(path: Path, why: str) -> WaguardError:
    remedy = "name another file, --key-file, or move this one away: a new key is made then"
    return WaguardError(f"the key file {path} cannot be used: {why}", remedy=remedy)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
