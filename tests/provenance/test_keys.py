"""Keys that outputs are signed with."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.provenance import keys
from smoothswap_jax.provenance.credentials import CredentialsError, Facts, sign
from smoothswap_jax.provenance.keys import KeyFault, SigningKey, signing_key
from smoothswap_jax.provenance.outputs import Provenance
from smoothswap_jax.provenance.verifying import verify_file
from tests.places import ROOT

pytest.importorskip("cryptography")


def test_a_key_is_made_once_and_for_its_owner_alone(config):
    first = signing_key()
    assert first.algorithm == "es256" and signing_key() == first
    folder = config / keys.FOLDER
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"signing": 0o700, "chain.pem": 0o600, "key.pem": 0o600}
    assert sorted(path.name for path in config.iterdir()) == ["signing"]
    assert keys.trusted() == [first.chain]
    assert "PRIVATE" not in repr(first)


def test_a_key_that_others_can_read_is_told(config, caplog):
    signing_key()
    assert not caplog.records
    (config / keys.FOLDER / keys.KEY_FILE).chmod(0o644)
    signing_key()
    assert "others on this machine can read the key" in caplog.text


def test_it_holds_no_name_of_the_user_or_machine_and_its_root_signs_no_more(config):
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    leaf, root = x509.load_pem_x509_certificates(signing_key().chain)
    leaf.verify_directly_issued_by(root)
    assert leaf.subject.rfc4514_string().startswith("CN=local key ") and leaf.issuer == root.subject
    assert leaf.subject.rfc4514_string().endswith(",O=smoothswap-jax")
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    held = (config / keys.FOLDER / keys.KEY_FILE).read_bytes()
    assert held.count(b"BEGIN PRIVATE KEY") == 1


def test_processes_that_begin_at_once_agree_on_one_key(config):
    code = "from smoothswap_jax.provenance.keys import signing_key; print(hash(signing_key().chain))"
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    jobs = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    said = {job.communicate(timeout=120)[0] for job in jobs}
    assert len(said) == 1 and all(job.returncode == 0 for job in jobs)
    assert sorted(path.name for path in config.iterdir()) == ["signing"]


def test_one_that_was_made_in_between_is_taken(config, monkeypatch):
    make, made = keys._new_key, []

    def slow():
        if not made:
            made.append(True)
            made.append(signing_key())
        return make()

    monkeypatch.setattr(keys, "_new_key", slow)
    assert signing_key() == made[1]
    assert sorted(path.name for path in config.iterdir()) == ["signing"]


def test_no_key_can_be_made_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(keys.CONFIG, str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"file/signing: no key to sign with can be made .* SMOOTHSWAP_CONFIG=DIR"):
        signing_key()


def given(folder: Path, kind: str = "ec", days: tuple[int, int] = (-1, 30)) -> tuple[Path, Path]:
    """A key of the user's, and its certificate, which is its own root."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import NameOID

    makers = {
        "ec": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "koblitz": lambda: ec.generate_private_key(ec.SECP256K1()),
    }
    key = makers[kind]()
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "studio")]), datetime.now(UTC)
    begin, end = (now + timedelta(days=shift) for shift in days)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 7, begin, end)
    signed = certificate.sign(key, None if kind == "ed25519" else hashes.SHA256())
    folder.mkdir(exist_ok=True)
    (folder / "chain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(*how))
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize("kind, algorithm", [("ec", "es384"), ("ed25519", "ed25519"), ("rsa", "ps256")])
def test_a_given_key_takes_the_place_of_the_own(kind, algorithm, config, tmp_path, monkeypatch):
    chain, key = given(tmp_path / "given", kind)
    found = signing_key(chain, key)
    assert found == SigningKey(chain.read_bytes(), key.read_bytes(), algorithm)
    monkeypatch.setenv(keys.CHAIN, str(chain))
    monkeypatch.setenv(keys.KEY, str(key))
    assert signing_key() == found
    assert not config.exists()


RECIPE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /O=studio/CN=studio "
    "-addext extendedKeyUsage=emailProtection -addext keyUsage=critical,digitalSignature "
    "-addext basicConstraints=critical,CA:FALSE -keyout key.pem -out chain.pem"
)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_the_recipe_of_the_docs_works_and_what_a_plain_certificate_lacks_is_named_before_loading(
    config, tmp_path, monkeypatch
):
    pytest.importorskip("c2pa")
    pytest.importorskip("cv2")
    assert RECIPE in (ROOT / "docs" / "swapping.md").read_text().replace("\\\n    ", "")
    make = lambda words: subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    make(RECIPE.split())
    ours = Provenance(chain=tmp_path / "chain.pem", key=tmp_path / "key.pem")
    save_photo(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    sign(tmp_path / "a.png", "image/png", Facts("1", None, "0" * 64, ()), ours.check())
    assert verify_file(tmp_path / "a.png", trust=[tmp_path / "chain.pem"]).credentials.trusted
    parts = RECIPE.split()
    plain = [part for at, part in enumerate(parts) if part != "-addext" and parts[at - 1] != "-addext"]
    make(plain)
    monkeypatch.setattr("smoothswap_jax.inference.load.load_functions", lambda *_: pytest.fail("was loaded"))
    lacks = (
        "lacks extendedKeyUsage=emailProtection, keyUsage=critical,digitalSignature, basicConstraints=critical,CA:FALSE"
    )
    with pytest.raises(CredentialsError, match=lacks):
        Swapper.load(provenance=ours)
    given(tmp_path)
    with pytest.raises(CredentialsError, match="digitalSignature, authorityKeyIdentifier=keyid:always; wanted"):
        ours.check()


def test_what_is_no_key_or_not_of_its_certificate_is_refused(config, tmp_path, monkeypatch):
    chain, key = given(tmp_path / "a")
    other_chain, other_key = given(tmp_path / "b")
    late = given(tmp_path / "late", days=(-20, -10))
    odd = given(tmp_path / "odd", "koblitz")
    for files, said in (
        ((chain, other_key), "found another key than that of the first certificate"),
        ((key, key), "key.pem: found no certificates"),
        ((chain, chain), "chain.pem: found no key that can be read"),
        (late, "found a certificate that is valid from .* wanted one that is today"),
        (odd, "found a key of another kind"),
        ((chain, tmp_path / "none"), "none: cannot be read"),
        ((tmp_path, key), "cannot be read"),
        ((chain, None), "chain.pem alone; wanted a chain of certificates and a key"),
    ):
        with pytest.raises(KeyFault, match=said):
            signing_key(*files)
    monkeypatch.setenv(keys.KEY, str(other_key))
    with pytest.raises(KeyFault, match=r"key.pem alone; wanted"):
        signing_key()
    assert signing_key(other_chain, other_key)
