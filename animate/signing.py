"""C2PA: signed manifests that say where a picture or video comes from, and that break when it is changed.

The library is c2pa-python (extra `provenance`). A certificate of one's own is given as two PEM files; without it a test
certificate is made for the run and its key is thrown away: such a signature shows that a file is unchanged, and nothing
about who made it. See the C2PA specification 2.x, sections 13 (credentials) and 18 (actions).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from animate.errors import MediaError, OptionError
from animate.provenance import SOFTWARE, SOURCE_TYPE, Provenance, mien_version
from animate.whole_file import whole_file

TEST_ISSUER = "Mien local test certificate"
INSTALL = "pip install 'mien[provenance]'"
#: suffix → media type of the files that can carry a manifest, of those that Mien writes.
SIGNABLE = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".gif": "image/gif",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}

# Copies of the file beyond so many megabytes go to the disk. The library hashes in blocks of 256 MB, two at a time: a
# file of any length takes about half a gigabyte at most.
_LIMITS = {"core": {"backing_store_memory_threshold_in_mb": 32}}


def available() -> bool:
    """Whether the extra `provenance` is installed."""
    return find_spec("c2pa") is not None and find_spec("cryptography") is not None


@dataclass(frozen=True)
class Credential:
    """A certificate chain and its key in PEM, and C2PA's name of the algorithm. test: nobody trusts it."""

    chain: bytes
    key: bytes
    algorithm: str
    name: str
    test: bool = False

    @classmethod
    def load(cls, certificate: str | Path, key: str | Path) -> Credential:
        """Reads both files. Raises OptionError, one sentence, for what is no certificate, or not its key."""
        _require()
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        chain, secret = _read(Path(certificate), "certificate"), _read(Path(key), "key")
        certificates = _certificates(chain, certificate, "the certificate with its chain")
        try:
            private = load_pem_private_key(secret, None)
        except TypeError as error:
            raise OptionError(f"The key {key} is protected by a password: give one without.") from error
        except ValueError as error:
            raise OptionError(f"{key} is no private key: give a PEM file.") from error
        if private.public_key() != certificates[0].public_key():
            raise OptionError(f"The key {key} is not that of {certificate}: give the two that belong together.")
        if certificates[0].not_valid_after_utc < datetime.now(UTC):
            raise OptionError(f"The certificate {certificate} is no longer valid: renew it.")
        if len(certificates) == 1 and certificates[0].issuer == certificates[0].subject:
            raise OptionError(f"{certificate} is signed by itself, which C2PA forbids: have an authority sign it.")
        name = certificates[0].subject.rfc4514_string()
        return cls(chain, secret, _algorithm(private, key), name)

    @classmethod
    def test_one(cls) -> Credential:
        """A certificate for this run alone, signed by an authority of this run alone; neither key is kept."""
        _require()
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _issue(root, root, "Mien test authority", x509, True)
        leaf = _issue(own, root, "Mien test signer", x509, False)
        chain = leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
        secret = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(chain, secret, "es256", TEST_ISSUER, test=True)


def load_authorities(path: str | Path) -> bytes:
    """The certificates of a PEM file, and nothing else that it holds: what `read_manifest` takes as anchors.

    Raises OptionError, one sentence that names the file: it cannot be read or holds no certificate, a damaged one, or
    none of an authority.
    """
    _require()
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found = _certificates(_read(Path(path), "file of authorities"), path, "the authorities' certificates")
    if not any(_is_authority(one, x509) for one in found):
        raise OptionError(f"{path} holds no authority's certificate: give that of who issues, not of who signs.")
    return b"".join(one.public_bytes(Encoding.PEM) for one in found)


def sign(path: Path, suffix: str, provenance: Provenance, credential: Credential) -> None:
    """Puts a signed manifest into a finished file; the file is replaced at once.

    suffix: of the name that the file will have, one of SIGNABLE.

    Raises MediaError where the library refuses the file or the certificate.
    """
    import c2pa

    action = {
        "action": "c2pa.created",
        "when": provenance.when,
        "softwareAgent": {"name": SOFTWARE, "version": mien_version()},
        "digitalSourceType": SOURCE_TYPE,
        "description": provenance.sentence,
        "parameters": {"model": provenance.model},
    }
    manifest = {
        "claim_generator_info": [{"name": SOFTWARE, "version": mien_version()}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    info = c2pa.C2paSignerInfo(
        alg=credential.algorithm, sign_cert=credential.chain, private_key=credential.key, ta_url=None
    )
    settings = _LIMITS | {"builder": {"thumbnail": {"enabled": False}}, "verify": {"ocsp_fetch": False}}
    try:
        with (
            whole_file(path) as signed,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context) as builder,
            path.open("rb") as source,
            signed.open("w+b") as target,
        ):
            builder.sign(signer, SIGNABLE[suffix.lower()], source, target)
    except c2pa.C2paError as error:
        raise MediaError(
            f"The output could not be signed ({error}): check the certificate, or use --no-sign."
        ) from error


def read_manifest(path: Path, suffix: str, anchors: bytes | None = None) -> dict[str, Any] | None:
    """The manifest store of a file with what its check found, as c2pa's own JSON; None where there is none.

    Nothing is fetched from elsewhere. anchors: certificates (PEM) of authorities that are to be trusted.

    Raises MediaError for a manifest that cannot be read at all.
    """
    _require()
    import json

    import c2pa

    settings: dict[str, Any] = _LIMITS | {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
    }
    if anchors is not None:
        settings["trust"] = {"trust_anchors": anchors.decode("ascii", "replace")}
    try:
        with path.open("rb") as file, c2pa.Context.from_dict(settings) as context:
            with c2pa.Reader(SIGNABLE[suffix.lower()], file, context=context) as reader:
                return {"state": reader.get_validation_state(), **json.loads(reader.json())}
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(error):
            return None
        raise MediaError(f"The C2PA manifest of {path} cannot be read ({error}).") from error


def _require() -> None:
    if not available():
        raise OptionError(f"Signing and checking signatures need an extra: {INSTALL}.")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"The {what} {path} cannot be read ({error.strerror}): check the path.") from error


def _certificates(data: bytes, path: str | Path, what: str) -> list[Any]:
    """Those of a PEM file. what: what the file should hold, for the sentence of the OptionError."""
    from cryptography import x509

    want = f"give {what} as a PEM file"
    if not data.strip():
        raise OptionError(f"{path} is empty: {want}.")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        if b"PRIVATE KEY-----" in data:
            raise OptionError(f"{path} holds a private key and no certificate: {want}.")
        try:
            x509.load_der_x509_certificate(data)
        except ValueError:
            raise OptionError(f"{path} holds no certificate: {want}.") from None
        raise OptionError(f"{path} is a certificate in DER: {want} (`openssl x509 -inform der -in {path}` prints it).")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise OptionError(f"{path} holds a damaged certificate: copy it again, or {want}.") from error


def _is_authority(certificate: Any, x509: Any) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):  # certificates of version 1 have no extensions
        return certificate.issuer == certificate.subject


def _algorithm(key: Any, path: str | Path) -> str:
    """C2PA's name for what a key signs with (specification, section 13.2)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        found = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}.get(key.curve.name)
        if found is not None:
            return found
    raise OptionError(f"The key {path} is of a kind that C2PA does not allow: use ECDSA (P-256), RSA or Ed25519.")


def _issue(key: Any, signer: Any, name: str, x509: Any, authority: bool) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def called(common: str) -> Any:
        parts = (NameOID.ORGANIZATION_NAME, TEST_ISSUER), (NameOID.COMMON_NAME, common)
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])

    now = datetime.now(UTC)
    usage = dict.fromkeys(
        "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only".split(), False
    )
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called("Mien test authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not authority:  # C2PA wants a purpose
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(signer, hashes.SHA256())
