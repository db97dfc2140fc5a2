"""C2PA manifests: made, found valid, found broken, trusted or not."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("c2pa", reason="needs the extra `provenance`")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from animate.errors import OptionError
from animate.media import VideoReader, VideoWriter, write_image
from animate.provenance import Provenance
from animate.provenance_reading import read_origin
from animate.signing import Credential, read_manifest

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), dtype=np.uint8)


def write(path, credential):
    if path.suffix in (".jpg", ".webp", ".tif"):
        write_image(path, FRAMES[0], Provenance(), credential)
        return path
    with VideoWriter(path, Fraction(25), provenance=Provenance(), credential=credential) as writer:
        for frame in FRAMES:
            writer.write(frame)
    return path


def issue(name, key, authority_key, ca, days=30):
    """A certificate for tests, signed by `authority_key`."""

    def called(common):
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    usage = dict.fromkeys(
        "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only".split(), False
    )
    usage |= {"digital_signature": not ca, "key_cert_sign": ca, "crl_sign": ca}
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called("root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A folder with root.pem, cert.pem (the chain), key.pem, locked.pem (with a password), old.pem (expired)."""
    folder = tmp_path_factory.mktemp("studio")
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = issue("root", root, root, True).public_bytes(Encoding.PEM)
    (folder / "root.pem").write_bytes(authority)
    (folder / "cert.pem").write_bytes(issue("Ada", key, root, False).public_bytes(Encoding.PEM) + authority)
    (folder / "old.pem").write_bytes(issue("Ada", key, root, False, -1).public_bytes(Encoding.PEM) + authority)
    for name, lock in (("key.pem", NoEncryption()), ("locked.pem", BestAvailableEncryption(b"secret"))):
        (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return folder


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.gif", "a.jpg", "a.webp", "a.tif"])
def test_test_certificate_signs_and_the_file_stays_readable(tmp_path, name):
    path = write(tmp_path / name, Credential.test_one())
    store = read_manifest(path, path.suffix)
    assert store["state"] == "Valid" and read_origin(path).manifest and read_origin(path).generated
    if name.endswith(("4", "v")):
        with VideoReader(path) as reader:
            assert len(list(reader)) == 3


def test_every_png_of_a_folder_is_signed(tmp_path):
    write(tmp_path / "%02d.png", Credential.test_one())
    states = [read_manifest(path, ".png")["state"] for path in tmp_path.glob("*.png")]
    assert states == ["Valid"] * 3


def test_two_test_certificates_have_different_keys():
    one, other = Credential.test_one(), Credential.test_one()
    assert one.key != other.key and one.chain != other.chain


def test_a_changed_picture_breaks_the_signature(tmp_path):
    path = write(tmp_path / "a.mp4", Credential.test_one())
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 200
    data[middle] ^= 1
    path.write_bytes(data)
    assert read_manifest(path, ".mp4")["state"] == "Invalid"


def test_own_certificate_is_trusted_where_its_authority_is(tmp_path, studio):
    path = write(tmp_path / "a.mp4", Credential.load(studio / "cert.pem", studio / "key.pem"))
    assert read_manifest(path, ".mp4")["state"] == "Valid"
    store = read_manifest(path, ".mp4", (studio / "root.pem").read_bytes())
    assert store["state"] == "Trusted"
    assert store["manifests"][store["active_manifest"]]["signature_info"]["common_name"] == "Ada"


def test_unsigned_file_has_no_manifest(tmp_path):
    assert read_manifest(write(tmp_path / "a.mp4", None), ".mp4") is None


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_keys_sign_as_well(tmp_path, key):
    root = ec.generate_private_key(ec.SECP256R1())
    chain = issue("Ada", key, root, False).public_bytes(Encoding.PEM)
    (tmp_path / "cert.pem").write_bytes(chain + issue("root", root, root, True).public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path = write(tmp_path / "a.mp4", Credential.load(tmp_path / "cert.pem", tmp_path / "key.pem"))
    assert read_manifest(path, ".mp4")["state"] == "Valid"


@pytest.mark.parametrize(
    ("certificate", "key", "word"),
    [
        ("missing.pem", "key.pem", "cannot be read"),
        ("key.pem", "key.pem", "no certificate"),
        ("cert.pem", "cert.pem", "no private key"),
        ("cert.pem", "locked.pem", "password"),
        ("old.pem", "key.pem", "no longer valid"),
        ("root.pem", "key.pem", "not that of"),
    ],
)
def test_certificates_that_do_not_work_get_a_sentence(studio, certificate, key, word):
    with pytest.raises(OptionError, match=word):
        Credential.load(studio / certificate, studio / key)


def test_nothing_is_left_when_signing_fails(tmp_path, studio):
    good = Credential.load(studio / "cert.pem", studio / "key.pem")
    bad = Credential(good.chain, good.key, "ed25519", "wrong algorithm")
    with pytest.raises(Exception, match="could not be signed"):
        write(tmp_path / "a.mp4", bad)
    assert list(tmp_path.iterdir()) == []
