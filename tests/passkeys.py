"""An account's passkey in software, and the two verifiers that accept what it signs."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    UserVerificationRequirement,
)
from webauthn import verify_authentication_response

from waguard.core.passkey import ORIGIN, RP_ID, decode, encode

UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


def request(**others: Any) -> dict[str, Any]:
    """What the page asks an authenticator for, as JSON."""
    return {
        "challenge": encode(secrets.token_bytes(32)),
        "timeout": 600_000,
        "rpId": RP_ID,
        "allowCredentials": [],
        "userVerification": "required",
        "extensions": {"uvm": True},
        **others,
    }


@dataclass
class Passkey:
    """Signs requests, also as no honest browser does."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(20))
    user: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def sign(
        self,
        asked: dict[str, Any],
        *,
        flags: int = UP | UV,
        rp_id: str = RP_ID,
        more: bytes = b"",
        client: bytes | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """``AuthenticationResponseJSON``. ``more`` follows the counter, ``client`` replaces the client data,
        ``others`` are fields of it."""
        said = {
            "type": "webauthn.get",
            "challenge": asked["challenge"],
            "origin": ORIGIN,
            "crossOrigin": False,
            **others,
        }
        client = json.dumps(said, separators=(",", ":")).encode() if client is None else client
        data = hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + (7).to_bytes(4) + more
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return {
            "id": encode(self.credential),
            "rawId": encode(self.credential),
            "type": "public-key",
            "response": {
                "clientDataJSON": encode(client),
                "authenticatorData": encode(data),
                "signature": encode(signature),
                "userHandle": encode(self.user),
            },
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {"uvm": [[2, 4, 2]]},
        }

    def verify(self, given: dict[str, Any], asked: dict[str, Any]) -> None:
        """Raises where py_webauthn or fido2 does not accept it."""
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        challenge = decode(asked["challenge"], 64)
        assert challenge
        verify_authentication_response(
            credential=given,
            expected_challenge=challenge,
            expected_rp_id=RP_ID,
            expected_origin=ORIGIN,
            credential_public_key=cbor2.dumps(cose),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
        server = Fido2Server(
            PublicKeyCredentialRpEntity(id=RP_ID, name="-"), verify_origin=lambda it: it == ORIGIN
        )
        state = {
            "challenge": asked["challenge"],
            "user_verification": UserVerificationRequirement.REQUIRED,
        }
        known = AttestedCredentialData.create(b"\0" * 16, self.credential, ES256(cose))
        server.authenticate_complete(state, [known], AuthenticationResponse.from_dict(given))
