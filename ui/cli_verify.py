"""`mien verify`: what a file says of where it comes from, and whether a signature vouches for that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from animate.errors import MediaError, OptionError

from .cli_options import PlainJson

if TYPE_CHECKING:
    from animate.provenance_reading import Origin

EXIT_UNPROVEN = 1


@dataclass(frozen=True)
class Verdict:
    """What was found.

    state: "signed" (the signature holds and the file is unchanged), "broken" (it does not, or the file was changed),
    "unchecked" (there is a manifest, but what would check it is not installed), "tagged" (plain metadata alone) or
    "nothing". facts: what the metadata say. signature: who signed, or None. problems: what is wrong with the signature.
    """

    file: str
    state: str
    facts: dict[str, str]
    signature: dict[str, Any] | None
    problems: list[str]


def verify(
    file: Annotated[Path, typer.Argument(help="A video or picture.")],
    trust: Annotated[
        Path | None, typer.Option("--trust", help="Certificates (PEM) of the authorities whose signatures you trust.")
    ] = None,
    as_json: PlainJson = False,
) -> None:
    """Tell whether a video or picture says that it was generated, and who signed that.

    Exit code 0: it says so, and a signature that is there holds. Exit code 1: it does not, or the signature is broken.
    """
    found = examine(file, trust)
    if as_json:
        print(json.dumps(vars(found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(sentences(found)))
    if found.state in ("broken", "nothing"):
        raise typer.Exit(EXIT_UNPROVEN)


def examine(path: Path, trust: Path | None = None) -> Verdict:
    """Looks at the metadata and the manifest. Raises MediaError or OptionError for files that cannot be read."""
    from animate.provenance_reading import read_origin

    anchors = None
    if trust is not None:
        try:
            anchors = trust.read_bytes()
        except OSError as error:
            raise OptionError(f"The certificates {trust} cannot be read ({error.strerror}): check the path.") from error
        if b"-----BEGIN CERTIFICATE-----" not in anchors:
            raise OptionError(f"{trust} holds no certificate: give a PEM file of authorities.")
    origin = read_origin(path)
    plain = "tagged" if origin.generated else "nothing"
    if not origin.manifest:
        return Verdict(str(path), plain, origin.facts, None, [])
    from animate import signing

    if not signing.available():
        return Verdict(str(path), "unchecked", origin.facts, None, [f"To check it: {signing.INSTALL}."])
    return _with_signature(path, origin, anchors)


def _with_signature(path: Path, origin: Origin, anchors: bytes | None) -> Verdict:
    from animate.signing import TEST_ISSUER, read_manifest

    try:
        store = read_manifest(path, {"jpeg": ".jpg"}.get(origin.kind, f".{origin.kind}"), anchors)
    except MediaError as error:
        return Verdict(str(path), "broken", origin.facts, None, [str(error)])
    if store is None:
        return Verdict(str(path), "broken", origin.facts, None, ["The manifest is empty or damaged."])
    manifest = store["manifests"][store["active_manifest"]]
    info = manifest.get("signature_info") or {}
    results = (store.get("validation_results") or {}).get("activeManifest") or {}
    failures = [entry for entry in results.get("failure") or [] if entry["code"] != "signingCredential.untrusted"]
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    actions = [
        action
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions") or []
    ]
    signature = {
        "signer": info.get("common_name"),
        "issuer": info.get("issuer"),
        "algorithm": info.get("alg"),
        "time": info.get("time"),
        "trusted": store["state"] == "Trusted",
        "test_certificate": info.get("issuer") == TEST_ISSUER,
        "generator": " ".join(str(generator[key]) for key in ("name", "version") if key in generator),
        "digital_source_types": sorted({a["digitalSourceType"] for a in actions if "digitalSourceType" in a}),
    }
    state = "signed" if store["state"] in ("Valid", "Trusted") else "broken"
    problems = list(dict.fromkeys(str(entry.get("explanation") or entry["code"]) for entry in failures))
    return Verdict(str(path), state, origin.facts, signature, problems)


def sentences(found: Verdict) -> list[str]:
    """The verdict for a person."""
    facts, lines = found.facts, []
    types = (found.signature or {}).get("digital_source_types") or []
    said = [facts.get("digital_source_type", ""), *types]
    if any(text.lower().endswith("trainedalgorithmicmedia") for text in said):
        by = facts.get("software") or (found.signature or {}).get("generator") or "an unnamed program"
        model = f" ({facts['system']})" if facts.get("system") else ""
        when = f", {facts['created']}" if facts.get("created") else ""
        lines.append(f"{found.file} says that it is AI-generated: {by}{model}{when}.")
    elif found.state != "nothing":
        lines.append(f"{found.file} does not say that it is AI-generated.")
    if found.signature is not None:
        lines.append(_of_signature(found))
    elif found.state == "unchecked":
        lines.append(f"It carries a C2PA manifest, which was not checked. {' '.join(found.problems)}")
    elif found.state == "broken":
        lines.append(f"Signature (C2PA): broken. {' '.join(found.problems)}")
    elif found.state == "tagged":
        lines.append("It is not signed: anybody can have changed it and these words.")
    else:
        lines.append(f"{found.file} does not say that it was generated. That proves nothing.")
    return lines


def _of_signature(found: Verdict) -> str:
    who = found.signature
    if found.state == "broken":
        return f"Signature (C2PA): broken: {'; '.join(found.problems) or 'the file was changed after it was signed'}."
    name = ", ".join(dict.fromkeys(text for text in (who["signer"], who["issuer"]) if text)) or "somebody unnamed"
    text = f"Signature (C2PA): valid, by {name}; picture and sound are unchanged since."
    if who["trusted"]:
        return f"{text} The certificate is trusted."
    if who["test_certificate"]:
        return f"{text} The certificate was made for a test: it does not tell who signed."
    return f"{text} Who issued the certificate is not known here: --trust names authorities."
