"""Keys that content credentials are signed with: one of this machine's user, made when it is first wanted, or given.

The user's own lie in `config_folder()/signing`, for the user alone to read: a certificate of a root that is made for it
and forgotten, so that nothing else can be signed in its name, and the certificate's key. Neither holds a name of the
user or the machine; the certificate's own name is drawn at random, and is the same in all that is signed with it.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import PathLike
from smoothswap_jax.runtime.user_folders import user_folder

log = logging.getLogger(__name__)

CONFIG, CHAIN, KEY = "SMOOTHSWAP_CONFIG", "SMOOTHSWAP_SIGNING_CHAIN", "SMOOTHSWAP_SIGNING_KEY"
"""Environment variables: the folder of what is kept about the user, and files in place of the user's own key."""
FOLDER, CHAIN_FILE, KEY_FILE = "signing", "chain.pem", "key.pem"
MAKER = "smoothswap-jax"
_EXTENDED_USES = {f"1.3.6.1.5.5.7.3.{use}" for use in (4, 8, 9, 36)}
"""For mail, time stamps, OCSP and documents."""
YEARS = 10
"""For which a certificate is valid: what was signed with one is no longer told as valid when it has ended."""
LARGEST = 1 << 20
"""Bytes of a file of certificates or keys."""


class KeyFault(ValueError):
    """A key or certificate cannot be used; the text names the file, what was found and what is wanted."""


@dataclass(frozen=True)
class SigningKey:
    """chain: certificates in PEM, of the key first and of its root last. key: PKCS #8 in PEM. algorithm: as C2PA
    names it."""

    chain: bytes
    key: bytes
    algorithm: str

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm})"  # a key is not for logs


def config_folder() -> Path:
    """Where keys and the log of unmarked outputs are kept: $SMOOTHSWAP_CONFIG, else smoothswap-jax in the user's
    folder of configurations. Raises NoHome where the user has none."""
    if given := os.environ.get(CONFIG):
        return Path(given)
    return user_folder("XDG_CONFIG_HOME", ".config", CONFIG)


def signing_key(chain: PathLike | None = None, key: PathLike | None = None) -> SigningKey:
    """The key of the given files, else of those in the environment, else the user's own, which is made if there is
    none. Raises KeyFault, and OSError where none can be made."""
    if chain is None and key is None:
        chain, key = os.environ.get(CHAIN), os.environ.get(KEY)
    if not chain and not key:
        return _own_key()
    if not chain or not key:
        found = f"{os.fspath(chain or key or '')} alone"
        raise KeyFault(f"signing: found {found}; wanted a chain of certificates and a key, both in PEM")
    return read_key(Path(chain), Path(key))


def trusted(others: Sequence[PathLike] = ()) -> list[bytes]:
    """Certificates in PEM: of the user's own key, where one was made, and of others. Raises KeyFault for a file that
    holds none, and OSError for one that cannot be read."""
    own = config_folder() / FOLDER / CHAIN_FILE
    files = [*([own] if own.exists() else []), *map(Path, others)]
    for file in files:
        _certificates(file)
    return [_read(file) for file in files]


def _certificates(file: Path) -> list[Any]:
    x509, *_ = _cryptography()
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise KeyFault(f"{file}: found no certificates ({error}); wanted some in PEM") from None


def read_key(chain: Path, key: Path) -> SigningKey:
    """A key and its certificates from files. Raises KeyFault for what is no PEM, another key than the first
    certificate's, a certificate that is not valid today, and a key that C2PA has no algorithm for."""
    serialization = _cryptography()[2]
    certificates, secret = _read(chain), _read(key)
    (first, *_) = _certificates(chain)
    try:
        private = serialization.load_pem_private_key(secret, password=None)
    except (ValueError, TypeError, _unsupported()) as error:
        raise KeyFault(f"{key}: found no key that can be read ({error}); wanted one in PEM, without password") from None
    raw = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*raw) != first.public_key().public_bytes(*raw):
        raise KeyFault(f"{key}: found another key than that of the first certificate in {chain}; wanted that one")
    if not first.not_valid_before_utc <= datetime.now(UTC) <= first.not_valid_after_utc:
        ends = f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"
        own = chain.parent == config_folder() / FOLDER
        instead = f"; with {chain.parent} moved away another is made" if own else ""
        raise KeyFault(f"{chain}: found a certificate that is valid from {ends}; wanted one that is today{instead}")
    return SigningKey(certificates, _pem(private), _algorithm(private, key))


def lacking(chain: bytes) -> list[str]:
    """Of the certificate of a key, what C2PA wants of one and it has not, as openssl writes it (C2PA 2.1, 14.5.1)."""
    x509 = _cryptography()[0]
    extensions = x509.load_pem_x509_certificates(chain)[0].extensions
    found = {type(one.value): one.value for one in extensions}
    lacks = []
    uses = {one.dotted_string for one in found.get(x509.ExtendedKeyUsage, ())}
    if not uses & _EXTENDED_USES:
        lacks.append("extendedKeyUsage=emailProtection")
    usage, constraints = found.get(x509.KeyUsage), found.get(x509.BasicConstraints)
    if usage is None or not usage.digital_signature:
        lacks.append("keyUsage=critical,digitalSignature")
    if constraints is not None and constraints.ca:
        lacks.append("basicConstraints=critical,CA:FALSE")
    if x509.AuthorityKeyIdentifier not in found:
        lacks.append("authorityKeyIdentifier=keyid:always")
    return lacks


# --- the user's own -------------------------------------------------------------------------------------------------


def _own_key() -> SigningKey:
    folder = config_folder() / FOLDER
    try:
        if not folder.exists():
            _make(folder)
    except OSError as error:
        raise OSError(
            f"{folder}: no key to sign with can be made there ({error.strerror}); wanted a place that can be written "
            f"to: {CONFIG}=DIR"
        ) from error
    key = folder / KEY_FILE
    if key.exists() and key.stat().st_mode & 0o077:
        log.warning("%s: others on this machine can read the key that signs for you; wanted chmod 600", key)
    return read_key(folder / CHAIN_FILE, key)


def _make(folder: Path) -> None:
    """Makes a key and its certificates under another name and renames: of two processes the first makes them for
    both."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # for its owner alone
    try:
        for name, data in zip((CHAIN_FILE, KEY_FILE), _new_key(), strict=True):
            with os.fdopen(os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _new_key() -> tuple[bytes, bytes]:
    """Certificates and key, in PEM."""
    x509, hashes, serialization, ec = _cryptography()
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = f"local key {secrets.token_hex(4)}"
    now = datetime.now(UTC)

    def named(common: str) -> Any:
        pairs = ((NameOID.ORGANIZATION_NAME, MAKER), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])

    def certificate(common: str, key: Any, authority: bool) -> Any:
        uses = dict.fromkeys(
            (
                *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
            ),
            False,
        )
        uses["key_cert_sign" if authority else "digital_signature"] = True
        made = (
            x509.CertificateBuilder()
            .subject_name(named(common))
            .issuer_name(named(f"{name}, root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))  # of clocks that go behind
            .not_valid_after(now + timedelta(days=365 * YEARS))
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
            .add_extension(x509.KeyUsage(**uses), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        )
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return made.sign(root, hashes.SHA256())

    both = certificate(name, leaf, authority=False), certificate(f"{name}, root", root, authority=True)
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in both), _pem(leaf)


# --- the package cryptography ---------------------------------------------------------------------------------------


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise missing_package("signing content credentials", "cryptography", "faces") from error
    return x509, hashes, serialization, ec


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return UnsupportedAlgorithm


def _pem(key: Any) -> bytes:
    serialization = _cryptography()[2]
    how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*how)


def _algorithm(key: Any, file: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise KeyFault(f"{file}: found a key of another kind; wanted P-256, P-384, P-521, Ed25519, or RSA of 2048 bits")


def _read(file: Path) -> bytes:
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise KeyFault(f"{file}: cannot be read ({error.strerror}); wanted a file in PEM") from error
    if len(data) > LARGEST:
        raise KeyFault(f"{file}: found more than {LARGEST:,} bytes; wanted a file in PEM")
    return data
