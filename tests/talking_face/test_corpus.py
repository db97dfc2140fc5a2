"""The synthetic corpus: deterministic plans, exact joins, resumable writing."""

import json

import numpy as np
import pytest

from talking_face import corpus
from talking_face.phones import Phone
from talking_face.voice_engines import available
from talking_face.voices import SAMPLE_RATE

needs_a_synthesiser = pytest.mark.skipif(
    not any(map(available, ("espeak", "flite", "festival"))), reason="no speech synthesiser is installed here"
)


def piece(tone, lead, length, tail):
    """A sound with a tone between two silences, and its labels."""
    sizes = [int(seconds * SAMPLE_RATE) for seconds in (lead, length, tail)]
    audio = np.concatenate([np.zeros(sizes[0]), np.full(sizes[1], tone), np.zeros(sizes[2])]).astype(np.float32)
    ends = np.cumsum(sizes) / SAMPLE_RATE
    return audio, [Phone("SIL", 0, ends[0]), Phone("AA", ends[0], ends[1], 1), Phone("SIL", ends[1], ends[2])]


def test_pieces_join_with_the_pauses_asked_for_and_labels_stay_on_their_sound():
    audio, phones = corpus.assemble([piece(0.5, 0.2, 0.3, 0.4), piece(-0.5, 0.1, 0.2, 0.3)], (0.5, 0.25, 0.4))
    vowels = [phone for phone in phones if phone.name == "AA"]
    assert [phone.name for phone in phones] == ["SIL", "AA", "SIL", "AA", "SIL"]
    for phone, tone in zip(vowels, (0.5, -0.5), strict=True):
        inside = audio[round(phone.start * SAMPLE_RATE) : round(phone.end * SAMPLE_RATE)]
        assert np.all(inside == np.float32(tone))
    assert np.count_nonzero(audio) == round(0.5 * SAMPLE_RATE)
    assert phones[-1].end == pytest.approx(len(audio) / SAMPLE_RATE)
    assert vowels[0].start == pytest.approx(0.5 + 0.03, abs=1e-3)
    assert vowels[1].start - vowels[0].end == pytest.approx(0.25 + 3 * 0.03, abs=2e-3)


@needs_a_synthesiser
def test_an_utterance_is_a_function_of_seed_and_number():
    assert corpus.plan(7, 0) == corpus.plan(7, 0)
    assert corpus.plan(7, 0) != corpus.plan(7, 1)
    made = [corpus.plan(index, 0) for index in range(200)]
    assert len({item.voice for item in made}) > 3
    assert all(corpus.RATES[0] <= item.rate <= corpus.RATES[1] for item in made)
    assert all(len(item.pauses) == len(item.pieces) + 1 for item in made)


@needs_a_synthesiser
def test_a_corpus_is_written_and_a_second_run_goes_on(tmp_path, monkeypatch):
    import soundfile

    monkeypatch.setattr(corpus, "_BLOCK", 2)
    corpus.main([str(tmp_path), "--hours", "0.001", "--seed", "4"])
    rows = corpus.read_corpus(tmp_path)
    for row in rows:
        audio, rate = soundfile.read(tmp_path / row["file"])
        assert rate == SAMPLE_RATE and audio.ndim == 1
        assert row["duration"] == pytest.approx(len(audio) / rate, abs=1e-3)
        assert row["phones"][0][1] == 0 and row["phones"][-1][2] == pytest.approx(row["duration"], abs=1e-3)
    with (tmp_path / "corpus.jsonl").open("a") as lines:
        lines.write('{"file": "cut off')
    corpus.write_corpus(tmp_path, sum(row["duration"] for row in rows) / 3600 + 0.0005, seed=4)
    more = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    assert more[: len(rows)] == rows and len(more) > len(rows)
    assert len({row["file"] for row in more}) == len(more) == len(list(tmp_path.glob("*.flac")))
    assert not list(tmp_path.glob(".*.partial"))


@needs_a_synthesiser
def test_a_corpus_that_is_long_enough_is_left_alone(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"file": "000000.flac", "duration": 7200}) + "\n")
    assert corpus.write_corpus(tmp_path, 1.0) == 2.0
    assert not list(tmp_path.glob("*.flac"))
