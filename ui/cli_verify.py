"""`mien verify`: what a file says of where it comes from, and whether a signature vouches for that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from animate.errors import MediaError

from .cli_options import PlainJson

if TYPE_CHECKING:
    from animate.provenance_reading import Origin

EXIT_UNPROVEN = 1
INSIDE = ("parentOf", "componentOf")  # ingredients that can be seen or heard in the file; not "inputTo" (C2PA, 10.3)


@dataclass(frozen=True)
class Verdict:
    """What was found.

    state: "signed" (the signature holds and the file is unchanged), "broken" (it does not, or the file was changed),
    "unchecked" (there is a manifest, but what would check it is not installed), "tagged" (plain metadata alone) or
    "nothing". generated: whether the file says that a trained model made it, wholly or in part; None where only the
    unchecked manifest could tell. facts: what the metadata say. signature: who signed, or None. problems: what is wrong
    with the signature.
    """

    file: str
    state: str
    generated: bool | None
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

    Exit code 0: it says so, and no signature in it is broken. Exit code 1: it does not say so, as a signed photograph
    does not, or the signature is broken.
    """
    found = examine(file, trust)
    if as_json:
        print(json.dumps(vars(found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(sentences(found)))
    if found.state == "broken" or not found.generated:
        raise typer.Exit(EXIT_UNPROVEN)


def examine(path: Path, trust: Path | None = None) -> Verdict:
    """Looks at the metadata and the manifest. Raises MediaError or OptionError for files that cannot be read."""
    from animate import signing
    from animate.provenance_reading import read_origin

    anchors = None if trust is None else signing.load_authorities(trust)
    origin = read_origin(path)
    if not origin.manifest:
        plain = "tagged" if origin.generated else "nothing"
        return Verdict(str(path), plain, origin.generated, origin.facts, None, [])
    if not signing.available():
        hint = f"To check it: {signing.INSTALL}."
        return Verdict(str(path), "unchecked", origin.generated or None, origin.facts, None, [hint])
    return _with_signature(path, origin, anchors)


def _with_signature(path: Path, origin: Origin, anchors: bytes | None) -> Verdict:
    from animate.provenance_reading import tells_of_a_model
    from animate.signing import TEST_ISSUER, read_manifest

    try:
        store = read_manifest(path, {"jpeg": ".jpg"}.get(origin.kind, f".{origin.kind}"), anchors)
    except MediaError as error:
        return Verdict(str(path), "broken", origin.generated, origin.facts, None, [str(error)])
    if store is None:
        return Verdict(str(path), "broken", origin.generated, origin.facts, None, ["The manifest is empty or damaged."])
    manifest = store["manifests"][store["active_manifest"]]
    info = manifest.get("signature_info") or {}
    results = (store.get("validation_results") or {}).get("activeManifest") or {}
    failures = [entry for entry in results.get("failure") or [] if entry["code"] != "signingCredential.untrusted"]
    generator = (manifest.get("claim_generator_info") or [{}])[0]
    types = _source_types(store, store["active_manifest"])
    signature = {
        "signer": info.get("common_name"),
        "issuer": info.get("issuer"),
        "algorithm": info.get("alg"),
        "time": info.get("time"),
        "trusted": store["state"] == "Trusted",
        "test_certificate": info.get("issuer") == TEST_ISSUER,
        "generator": " ".join(str(generator[key]) for key in ("name", "version") if key in generator),
        "digital_source_types": types,
    }
    state = "signed" if store["state"] in ("Valid", "Trusted") else "broken"
    problems = list(dict.fromkeys(str(entry.get("explanation") or entry["code"]) for entry in failures))
    generated = origin.generated or any(map(tells_of_a_model, types))
    return Verdict(str(path), state, generated, origin.facts, signature, problems)


def _source_types(store: dict[str, Any], label: str) -> list[str]:
    """The digital source types that a manifest states, and those of what its file was made from.

    A program that only cuts a generated video signs it anew and keeps the first manifest as an ingredient.
    """
    found, seen, waiting = set(), set(), [label]
    while waiting:
        manifest = store["manifests"].get(label := waiting.pop()) or {}
        seen.add(label)
        for assertion in manifest.get("assertions") or []:
            if str(assertion.get("label", "")).startswith("c2pa.actions"):
                actions = (assertion.get("data") or {}).get("actions") or []
                found |= {str(action["digitalSourceType"]) for action in actions if "digitalSourceType" in action}
        parts = [part for part in manifest.get("ingredients") or [] if part.get("relationship") in INSIDE]
        waiting += [part["active_manifest"] for part in parts if part.get("active_manifest") not in (None, *seen)]
    return sorted(found)


def sentences(found: Verdict) -> list[str]:
    """The verdict for a person."""
    facts, lines = found.facts, []
    if found.generated:
        by = facts.get("software") or (found.signature or {}).get("generator") or "an unnamed program"
        model = f" ({facts['system']})" if facts.get("system") else ""
        when = f", {facts['created']}" if facts.get("created") else ""
        lines.append(f"{found.file} says that it is AI-generated: {by}{model}{when}.")
    elif found.generated is None:
        lines.append(f"The metadata of {found.file} do not say that it is AI-generated.")
    else:
        lines.append(f"{found.file} does not say that it is AI-generated. That proves nothing.")
    if found.signature is not None:
        lines.append(_of_signature(found))
    elif found.state == "unchecked":
        lines.append(f"It carries a C2PA manifest, which was not checked. {' '.join(found.problems)}")
    elif found.state == "broken":
        lines.append(f"Signature (C2PA): broken. {' '.join(found.problems)}")
    elif found.state == "tagged":
        lines.append("It is not signed: anybody can have changed it and these words.")
    else:
        lines.append("It is not signed.")
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
