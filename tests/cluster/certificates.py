"""An authority, and what it signs: for servers and clients on loopback."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.etcd_servers import Certificates


def certificates(folder: Path) -> Certificates:
    """Files in ``folder``, of an authority of their own."""
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = _builder("an authority", authority, "an authority").add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    ca = ca.add_extension(x509.KeyUsage(**usage, key_cert_sign=True), critical=True)
    made = Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server-key.pem",
        client=folder / "client.pem",
        client_key=folder / "client-key.pem",
    )
    made.ca.write_bytes(_pem(ca, authority))
    for name, path, key_path in (
        ("a server", made.server, made.server_key),
        ("a client", made.client, made.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        issued = _builder(name, key, "an authority").add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        )
        # etcd's gateway is a client of etcd itself, with the server's certificate
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issued = issued.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        path.write_bytes(_pem(issued.add_extension(by, critical=False), authority))
        key_path.touch(mode=0o600)
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return made


def _builder(name: str, key: ec.EllipticCurvePrivateKey, by: str) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pem(builder: x509.CertificateBuilder, authority: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
