"""Alignment of recorded English: words become phones with times that fit the sound."""

import sys

import numpy as np
import pytest

from animate.errors import OptionError
from talking_face.alignment import SAMPLE_RATE, align_speech, align_with_text, cut_at_pauses, normalise, spell
from talking_face.phones import PHONES
from talking_face.voice_engines import available
from talking_face.voices import Voice


@pytest.fixture(scope="module")
def recogniser():
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed here")


@pytest.fixture(scope="module")
def grid_clip(shared):
    """The sound of a filmed command, "bin blue at f two now"."""
    from talking_face.audio import load_audio

    path = shared / "data" / "examples" / "video" / "LipNet__samples_GRID_bbaf2n.mpg"
    if not path.is_file():
        pytest.skip("the GRID clip is not in ../shared")
    return load_audio(path)


def test_text_is_spelled_as_the_dictionary_does():
    assert normalise("It’s 25,000 °C, Peter's “co-op” & 3%!") == [
        *("it's", "twenty", "five", "thousand", "c", "peter's", "co", "op", "and", "three", "percent")
    ]


def test_an_unknown_word_gets_a_rough_pronunciation():
    assert spell("Blorptack") == "B L AA R P T AE K"
    assert spell("Phibb") == "F IH B"
    assert spell("дом") == ""


def test_long_sounds_are_cut_where_they_are_quiet():
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.1, 50 * SAMPLE_RATE).astype(np.float32)
    audio[16 * SAMPLE_RATE : int(16.5 * SAMPLE_RATE)] *= 0.01
    pieces = cut_at_pauses(audio, 20)
    assert pieces[0][0] == 0 and pieces[-1][1] == len(audio)
    assert all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))
    assert all(last - first <= 20 * SAMPLE_RATE for first, last in pieces)
    assert 16 < pieces[0][1] / SAMPLE_RATE < 16.5
    assert cut_at_pauses(np.zeros(0, np.float32)) == []


@pytest.mark.usefixtures("recogniser")
class TestAligning:
    def test_a_given_command_is_found_in_its_clip(self, grid_clip):
        phones = align_speech(grid_clip, "bin blue at f two now")
        spoken = [phone for phone in phones if phone.name != "SIL"]
        assert [phone.name for phone in spoken] == [
            *("B", "IH", "N", "B", "L", "UW", "AE", "T", "EH", "F", "T", "UW", "N", "AW")
        ]
        assert 0.8 < spoken[0].start < 1.05 and 1.9 < spoken[-1].end < 2.3
        assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(grid_clip) / SAMPLE_RATE)
        assert all(a.end == pytest.approx(b.start) for a, b in zip(phones, phones[1:], strict=False))

    def test_without_text_the_words_are_recognised(self, shared):
        from talking_face.audio import load_audio

        path = shared / "data" / "examples" / "audio" / "cognitive-serv__Speech_whatstheweatherlike.wav"
        if not path.is_file():
            pytest.skip("the spoken question is not in ../shared")
        result = align_with_text(load_audio(path))
        assert result.text == "what's the weather like"
        assert [phone.name for phone in result.phones if phone.name in ("W", "DH", "L", "K")] == [
            *("W", "DH", "W", "DH", "L", "K")
        ]
        assert all(phone.name in PHONES for phone in result.phones)

    def test_words_that_nobody_knows_are_spelled_or_dropped(self, grid_clip):
        result = align_with_text(grid_clip, "bin blorptack at ф two now")
        assert result.text == "bin blorptack at two now"
        assert len(result.phones) > 8

    def test_words_of_another_language_keep_their_phones_and_get_times(self, grid_clip):
        text = "bin blü at ef two now"
        lexicon = {"bin": ("B", "IH", "N"), "blü": ("B", "L", "Y_ROUND"), "at": ("A", "T"), "ef": ("EH", "F")}
        lexicon |= {"two": ("T", "UW"), "now": ("N", "A", "O")}
        phones = align_speech(grid_clip, text, lexicon)
        spoken = [phone for phone in phones if phone.name != "SIL"]
        assert [phone.name for phone in spoken] == [name for word in text.split() for name in lexicon[word]]
        english = [p for p in align_speech(grid_clip, "bin blue at f two now") if p.name != "SIL"]
        assert spoken[5].start == pytest.approx(english[5].start, abs=0.06)
        assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(grid_clip) / SAMPLE_RATE)

    def test_a_text_of_another_language_that_does_not_fit_gives_silence(self, grid_clip):
        words = {f"w{'abcdefghij'[i]}": ("B", "A", "B", "A", "B", "A", "B", "A") for i in range(10)}
        names = {phone.name for phone in align_speech(grid_clip[: SAMPLE_RATE // 2], " ".join(words), words)}
        assert names == {"SIL"}

    def test_level_does_not_matter(self, grid_clip):
        text = "bin blue at f two now"
        quiet, loud = align_speech(grid_clip * 0.03, text), align_speech(grid_clip, text)
        assert [p.name for p in quiet] == [p.name for p in loud]
        assert np.allclose([p.end for p in quiet], [p.end for p in loud], atol=0.06)

    @pytest.mark.parametrize("samples", [0, 1, 300, 16_000])
    @pytest.mark.parametrize("text", [None, "hello world", ""])
    def test_silence_is_silence(self, samples, text):
        names = [phone.name for phone in align_speech(np.zeros(samples, np.float32), text)]
        assert names == (["SIL"] if samples else [])

    def test_times_agree_with_a_synthetic_voice(self):
        if not available("flite"):
            pytest.skip("flite is not installed here")
        text = "My mama bought Bobby a pumpkin pie from the baker."
        audio, truth = Voice("rms", "flite", "en-us", "male").say(text)
        phones = align_speech(audio, text)
        times = np.arange(0, len(audio) / SAMPLE_RATE, 0.01)

        def names(labels):
            rows = np.searchsorted([phone.end for phone in labels], times, side="right")
            return np.array([labels[min(row, len(labels) - 1)].name for row in rows])

        assert np.mean(names(phones) == names(truth)) > 0.75
        starts = {phone.name: phone.start for phone in truth}
        shifts = [
            phone.start - starts[phone.name] for phone in phones if abs(phone.start - starts.get(phone.name, 9)) < 0.08
        ]
        assert len(shifts) > 8 and abs(np.median(shifts)) < 0.015

    def test_a_long_text_is_shared_out_among_the_pieces(self, grid_clip):
        sound = np.concatenate([grid_clip] * 16)  # 48 s: three pieces
        result = align_with_text(sound, " ".join(["bin blue at f two now"] * 16))
        spoken = [phone for phone in result.phones if phone.name == "UW"]
        assert len(spoken) == 32
        turns = np.array([phone.start for phone in spoken[::2]])
        assert np.abs(np.diff(turns) - len(grid_clip) / SAMPLE_RATE).max() < 0.1


def test_without_pocketsphinx_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(OptionError, match=r"pip install 'mien\[bench\]'"):
        align_speech(np.zeros(100, np.float32))
