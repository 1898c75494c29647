"""Keys for signatures: ECDSA on P-256 (what cosign uses) and Ed25519, as PEM.

Private keys are PKCS#8, encrypted where there is a passphrase; public keys are SubjectPublicKeyInfo, as in cosign's
cosign.pub. No message of an error quotes what was read.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from slimmer.errors import SlimmerError, UsageProblem

LARGEST = 64 * 1024  # bytes of a key's file
ENVIRONMENT = "env://"  # in front of the name of an environment variable that holds a key, as cosign spells it
_PRIVATE, _PUBLIC = ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey


class KeyType(enum.StrEnum):
    """What `slim key new --type` takes."""

    ECDSA_P256 = "ecdsa-p256"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verifies signatures of one key."""

    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

    @property
    def type(self) -> KeyType:
        return KeyType.ECDSA_P256 if isinstance(self.key, _PUBLIC) else KeyType.ED25519

    @property
    def pem(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_bytes(serialization.Encoding.PEM, form)

    @property
    def hint(self) -> str:
        """By which a bundle names its key: base64 of the SHA-256 of the DER form, as cosign does."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        der = self.key.public_bytes(serialization.Encoding.DER, form)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        try:
            if isinstance(self.key, _PUBLIC):
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs. Never shown: its text form names the type alone."""

    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.type})"

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.key.public_key())

    def pem(self, passphrase: bytes = b"") -> bytes:
        """PKCS#8, encrypted unless the passphrase is empty."""
        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            how = serialization.BestAvailableEncryption(passphrase)
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    def sign(self, data: bytes) -> bytes:
        """The same signature for the same data where the cryptography in use can do RFC 6979 (`deterministic`)."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        try:
            return self.key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    @property
    def deterministic(self) -> bool:
        """Whether two signatures of one text are the same bytes."""
        return self.sign(b"") == self.sign(b"")


def new_key(kind: KeyType) -> PrivateKey:
    if kind is KeyType.ED25519:
        return PrivateKey(ed25519.Ed25519PrivateKey.generate())
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def private_key(pem: bytes, where: str, passphrase: Callable[[], bytes]) -> PrivateKey:
    """A private key from PEM. `passphrase` is asked when the key is encrypted. Raises SlimmerError."""
    if b"SIGSTORE PRIVATE KEY" in pem or b"COSIGN PRIVATE KEY" in pem:
        raise SlimmerError(
            f"{where} is encrypted in cosign's own way, which is read by cosign alone",
            "make a key with `slim key new` (cosign imports it: `cosign import-key-pair`), or give a PKCS#8 one",
        )
    if b"PUBLIC KEY" in pem:
        raise SlimmerError(f"{where} is a public key", "name the private one to sign")
    secret: bytes | None = None
    if b"ENCRYPTED" in pem:
        secret = passphrase()
        if not secret:
            raise SlimmerError(
                f"{where} is encrypted and no passphrase was given",
                "give it by SLIMMER_KEY_PASSPHRASE, --passphrase-file FILE, or at the prompt of a terminal",
            )
    try:
        key = serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words may quote the key.
        why = "the passphrase is wrong, or it is damaged" if secret else "it is not a private key in PEM (PKCS#8)"
        raise SlimmerError(f"{where} cannot be read: {why}", "make one with `slim key new`") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return PrivateKey(key)
    if isinstance(key, _PRIVATE) and isinstance(key.curve, ec.SECP256R1):
        return PrivateKey(key)
    raise SlimmerError(f"{where} is a key of another type", "ecdsa-p256 and ed25519 are known")


def public_key(pem: bytes, where: str) -> PublicKey:
    """A public key from PEM, cosign's cosign.pub among them. Raises SlimmerError."""
    if b"PRIVATE KEY" in pem:
        raise SlimmerError(f"{where} is a private key", "give the public one (.pub) to verify")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SlimmerError(f"{where} is not a public key in PEM", "`slim key new` writes one beside the key") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(key)
    if isinstance(key, _PUBLIC) and isinstance(key.curve, ec.SECP256R1):
        return PublicKey(key)
    raise SlimmerError(f"{where} is a key of another type", "ecdsa-p256 and ed25519 are known")


def read_key(name: str) -> bytes:
    """The PEM at a path, or in a variable of the environment ("env://NAME"). Raises SlimmerError."""
    if name.startswith(ENVIRONMENT):
        variable = name.removeprefix(ENVIRONMENT)
        value = os.environ.get(variable)
        if value is None:
            raise SlimmerError(f"the environment has no {variable}, which was to hold a key")
        return value.encode("utf-8", "surrogateescape")
    try:
        with open(name, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise SlimmerError(f"cannot read the key {name}: {error.strerror}", "`slim key new` makes one") from error
    if len(data) > LARGEST:
        raise SlimmerError(f"{name} is no key: larger than {LARGEST} bytes")
    return data


def write_pair(key: PrivateKey, place: Path, passphrase: bytes) -> Path:
    """The private key at `place` with mode 0600, the public one beside it; gives that one's path. Never overwrites.

    Raises SlimmerError.
    """
    beside = place.with_suffix(".pub")
    if beside == place:
        raise UsageProblem(f"{place} is what the public key would be called", "name the private key otherwise")
    written: list[Path] = []
    try:
        for path, data, mode in ((place, key.pem(passphrase), 0o600), (beside, key.public.pem, 0o644)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            written.append(path)
            with open(descriptor, "wb") as stream:
                stream.write(data)
    except FileExistsError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise SlimmerError(
            f"{error.filename} exists already", "a key is never overwritten: name another file"
        ) from None
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise SlimmerError(f"cannot write {place}: {error.strerror}") from error
    return beside
