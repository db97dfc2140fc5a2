"""Recorded prompts: texts read, words pronounced, files that the training data's packer reads."""

import gzip
import json

import numpy as np
import pytest

from talking_face.corpus import read_corpus
from talking_face.prompts import pronounce, read_texts, write_corpus
from talking_face.voice_engines import available
from talking_face.voices import SAMPLE_RATE, Voice

needs_espeak = pytest.mark.skipif(not available("espeak"), reason="espeak-ng is not installed here")


def test_texts_lose_their_remarks_and_lines_without_words(tmp_path):
    path = tmp_path / "core-sounds-xx.txt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\ufeff; a comment: none\n\nadded: Added.\ndigits/1: one (high tone)\nbeep: [a beep]\nbad line\n")
    assert read_texts(path) == {"added": "Added.", "digits/1": "one"}


@needs_espeak
def test_words_get_phones_of_their_language():
    lexicon = pronounce(["bueno", "luna"], "es")
    assert lexicon["luna"] == ("L", "UW", "N", "A")
    assert lexicon["bueno"][0] == "B"
    assert pronounce(["lune"], "fr-fr")["lune"] == ("L", "Y_ROUND", "N")


def test_prompts_become_a_corpus(tmp_path):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed here")
    if not available("flite"):
        pytest.skip("flite is not installed here")
    import soundfile

    sounds = tmp_path / "sounds"
    sounds.mkdir()
    voice = Voice("rms", "flite", "en-us", "male")
    texts = {f"prompt-{i}": text for i, text in enumerate(["My mama bought a pumpkin pie.", "Please leave a message."])}
    for name, text in texts.items():
        soundfile.write(sounds / f"{name}.wav", voice.say(text)[0], SAMPLE_RATE)
    listing = tmp_path / "texts.txt"
    listing.write_text("\n".join(f"{name}: {text}" for name, text in texts.items()) + "\nmissing: Nobody said this.\n")
    seconds = write_corpus(tmp_path / "out", sounds, listing, "en", "tester", ".wav")
    (row,) = read_corpus(tmp_path / "out")
    assert row["text"] == " / ".join(texts.values()) and row["voice"] == "tester"
    assert row["duration"] == pytest.approx(seconds, abs=1e-3)
    names = [phone[0] for phone in row["phones"]]
    assert names.count("SIL") >= 3 and sum(name in "PBM" for name in names) >= 6
    sound, _ = soundfile.read(tmp_path / "out" / row["file"])
    ends = np.array([phone[2] for phone in row["phones"]])
    assert ends[-1] == pytest.approx(len(sound) / SAMPLE_RATE, abs=1e-3)
    assert json.loads((tmp_path / "out" / "corpus.jsonl").read_text())["language"] == "en"
