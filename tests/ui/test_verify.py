"""`mien verify`, and how a run's output is signed."""

import json

import numpy as np
import pytest

from ui.cli import main

needs_c2pa = pytest.mark.skipif(
    not __import__("animate.signing", fromlist=["available"]).available(), reason="needs the extra `provenance`"
)


@pytest.fixture(scope="module")
def drawn(files, tmp_path_factory):
    """A folder: signed.mp4, plain.mp4 (--no-sign), web.webm."""
    folder = tmp_path_factory.mktemp("drawn")
    common = ["animate", "-s", str(files / "portrait.png"), "-m", "smile", "--method", "still", "--trim-end", "0.1"]
    for name, more in (("signed.mp4", []), ("plain.mp4", ["--no-sign"]), ("web.webm", [])):
        report = ["--report", str(folder / f"{name}.json")]
        assert main([*common, "-o", str(folder / name), "-q", *more, *report]) == 0
    return folder


def state_of(mien, path, *more):
    code, out, _ = mien("verify", path, "--json", *more)
    return code, json.loads(out)


@needs_c2pa
def test_output_is_signed_with_a_test_certificate_and_says_so(mien, drawn):
    code, found = state_of(mien, drawn / "signed.mp4")
    assert (code, found["state"]) == (0, "signed") and found["signature"]["test_certificate"]
    assert not found["signature"]["trusted"] and found["signature"]["generator"].startswith("Mien")
    assert found["signature"]["digital_source_types"] == [found["facts"]["digital_source_type"]]
    report = json.loads((drawn / "signed.mp4.json").read_text())
    assert report["provenance"]["test_certificate"] and any("nobody trusts" in note for note in report["notes"])
    _, out, _ = mien("verify", drawn / "signed.mp4")
    assert "AI-generated" in out and "made for a test" in out


def test_unsigned_output_still_says_that_it_is_generated(mien, drawn):
    code, found = state_of(mien, drawn / "plain.mp4")
    assert (code, found["state"], found["signature"]) == (0, "tagged", None)
    assert found["facts"]["system"] == "Mien, model mini"
    assert "not signed" in mien("verify", drawn / "plain.mp4")[1]


@needs_c2pa
def test_a_format_without_a_place_for_it_is_told(mien, drawn, files):
    assert state_of(mien, drawn / "web.webm")[1]["state"] == "tagged"
    assert any("no place in .webm" in note for note in json.loads((drawn / "web.webm.json").read_text())["notes"])
    code, _, err = mien(
        *("animate", "-s", files / "portrait.png", "-m", "smile", "-o", drawn / "no.webm", "--sign"),
    )
    assert code == 2 and "C2PA has no place in .webm files" in err and not (drawn / "no.webm").exists()


def signed(path, target, source_type, parent=None):
    """A copy of a JPEG, signed by another program: made as source_type says, or by an edit of `parent`."""
    import c2pa

    from animate.signing import Credential

    own = Credential.test_one()
    info = c2pa.C2paSignerInfo(alg=own.algorithm, sign_cert=own.chain, private_key=own.key, ta_url=None)
    made = {"actions": [{"action": "c2pa.created", "digitalSourceType": source_type}]}
    assertions = [{"label": "c2pa.actions.v2", "data": made}] if parent is None else []
    manifest = {"claim_generator_info": [{"name": "Camera"}], "assertions": assertions}
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder, path.open("rb") as source:
        if parent is not None:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            with parent.open("rb") as first:
                builder.add_ingredient({"title": "first", "relationship": "parentOf"}, "image/jpeg", first)
        with target.open("w+b") as file:
            builder.sign(signer, "image/jpeg", source, file)
    return target


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    from animate.media import write_image

    path = tmp_path_factory.mktemp("photo") / "plain.jpg"
    write_image(path, np.full((16, 16, 3), 90, np.uint8))
    return path


IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CAPTURED, MADE = f"{IPTC}digitalCapture", f"{IPTC}trainedAlgorithmicMedia"


@needs_c2pa
def test_a_signed_photograph_is_not_said_to_be_generated(mien, photo, tmp_path):
    path = signed(photo, tmp_path / "photo.jpg", CAPTURED)
    code, found = state_of(mien, path)
    assert (code, found["state"], found["generated"]) == (1, "signed", False)
    _, out, _ = mien("verify", path)
    assert "does not say that it is AI-generated" in out and "valid" in out


@needs_c2pa
def test_a_manifest_alone_says_it_and_a_later_one_does_not_hide_it(mien, photo, tmp_path):
    first = signed(photo, tmp_path / "made.jpg", MADE)
    again = signed(photo, tmp_path / "cut.jpg", None, parent=first)
    for path in (first, again):
        code, found = state_of(mien, path)
        assert (code, found["state"], found["generated"], found["facts"]) == (0, "signed", True, {})
        assert found["signature"]["digital_source_types"] == [MADE]


@needs_c2pa
@pytest.mark.parametrize(
    ("name", "word"),
    [("empty", "is empty"), ("key", "private key"), ("der", "in DER"), ("damaged", "damaged"), ("leaf", "authority's")],
)
def test_authorities_that_cannot_be_read_are_named_and_not_the_video(mien, drawn, tmp_path, name, word):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from animate.signing import Credential

    own = Credential.test_one()
    leaf, _ = x509.load_pem_x509_certificates(own.chain)
    content = {"empty": b"", "key": own.key, "der": leaf.public_bytes(Encoding.DER), "damaged": own.chain[:200]}
    content |= {"leaf": leaf.public_bytes(Encoding.PEM)}
    (tmp_path / "bad.pem").write_bytes(content[name])
    code, out, err = mien("verify", drawn / "signed.mp4", "--trust", tmp_path / "bad.pem")
    assert (code, out) == (2, "") and word in err and "bad.pem" in err and "signed.mp4" not in err


@needs_c2pa
def test_a_changed_file_is_broken(mien, drawn, tmp_path):
    data = bytearray((drawn / "signed.mp4").read_bytes())
    data[data.index(b"mdat") + 100] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    code, found = state_of(mien, tmp_path / "changed.mp4")
    assert (code, found["state"]) == (1, "broken") and found["problems"]
    assert "broken" in mien("verify", tmp_path / "changed.mp4")[1]


@needs_c2pa
def test_a_damaged_manifest_is_a_verdict(mien, drawn, tmp_path):
    content = bytearray((drawn / "signed.mp4").read_bytes())
    content += b"fourteen bytes"
    (tmp_path / "longer.mp4").write_bytes(content)
    code, out, err = mien("verify", tmp_path / "longer.mp4", "--json")
    assert code == 1 and json.loads(out)["state"] == "broken" and json.loads(out)["problems"] and err == ""


def test_nothing_is_found_in_an_input(mien, files):
    for name in ("portrait.png", "clip.mp4"):
        assert state_of(mien, files / name) == (
            1,
            {"file": str(files / name), "state": "nothing", "generated": False, "signature": None, "problems": []}
            | {"facts": state_of(mien, files / name)[1]["facts"]},
        )


@pytest.mark.parametrize("name", ["missing.mp4", "tone.wav"])
def test_what_cannot_be_looked_at_is_one_sentence(mien, files, name):
    code, out, err = mien("verify", files / name)
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_without_the_library_a_manifest_is_named_but_not_judged(mien, drawn, monkeypatch):
    from animate import signing

    if not signing.available():
        pytest.skip("nothing is signed here")
    monkeypatch.setattr(signing, "available", lambda: False)
    code, found = state_of(mien, drawn / "signed.mp4")
    assert (code, found["state"]) == (0, "unchecked")
    assert "mien[provenance]" in mien("verify", drawn / "signed.mp4")[1]


def test_signing_is_refused_early_where_it_cannot_be(mien, files, tmp_path, monkeypatch):
    common = ("animate", "-s", files / "portrait.png", "-m", "smile", "-o", tmp_path / "o.mp4")
    pair = ("--sign-with", tmp_path / "cert.pem", tmp_path / "key.pem")
    for more in (pair, (*pair, "--no-sign")):
        code, _, err = mien(*common, *more)
        assert code == 2 and err.count("\n") == 1
    monkeypatch.setenv("MIEN_SIGN_CERT", "cert.pem")
    code, _, err = mien(*common)
    assert code == 2 and "belong together" in err
    assert list(tmp_path.iterdir()) == []


@needs_c2pa
def test_own_certificate_from_options_environment_and_configuration(mien, files, tmp_path, monkeypatch):
    from animate.signing import Credential

    own = Credential.test_one()  # any chain with its key will do
    (tmp_path / "cert.pem").write_bytes(own.chain)
    (tmp_path / "key.pem").write_bytes(own.key)
    authority = own.chain[own.chain.rindex(b"-----BEGIN") :]
    (tmp_path / "root.pem").write_bytes(authority)
    (tmp_path / "c.yaml").write_text(f"source: {files / 'portrait.png'}\nmotion: smile\ntrim-end: 0.1\nmethod: still\n")
    base = ("animate", "--config", tmp_path / "c.yaml", "-q")
    assert mien(*base, "-o", tmp_path / "a.mp4", "--sign-with", tmp_path / "cert.pem", tmp_path / "key.pem")[0] == 0
    (tmp_path / "d.yaml").write_text((tmp_path / "c.yaml").read_text() + "sign-with: [cert.pem, key.pem]\n")
    assert mien("animate", "--config", tmp_path / "d.yaml", "-q", "-o", tmp_path / "b.mp4")[0] == 0
    monkeypatch.setenv("MIEN_SIGN_CERT", str(tmp_path / "cert.pem"))
    monkeypatch.setenv("MIEN_SIGN_KEY", str(tmp_path / "key.pem"))
    assert mien(*base, "-o", tmp_path / "c.mp4")[0] == 0
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        code, found = state_of(mien, tmp_path / name, "--trust", tmp_path / "root.pem")
        assert (code, found["state"], found["signature"]["trusted"]) == (0, "signed", True)


def test_two_runs_have_the_same_frames_whoever_signs(drawn):
    from animate.media import VideoReader

    shown = []
    for name in ("signed.mp4", "plain.mp4"):
        with VideoReader(drawn / name) as reader:
            shown.append(np.stack(list(reader)))
    assert (shown[0] == shown[1]).all()
