"""Synthetic voices: sound at 16 kHz with phones that lie where the sound says they are."""

import numpy as np
import pytest

from animate.errors import OptionError
from talking_face.phones import ALL_VOWELS
from talking_face.voice_engines import Request, available
from talking_face.voices import SAMPLE_RATE, Voice, voices

TEXT = "The boat moved past Peter's bumpy bay. Happy people jump up, okay?"
SAMPLES = {
    "espeak": Voice("en-us+f2", "espeak", "en-us", "female"),
    "flite": Voice("awb", "flite", "en-us", "male"),
    "festival": Voice("ked_diphone", "festival", "en-us", "male"),
}


@pytest.fixture(scope="module", params=SAMPLES)
def voice(request):
    found = SAMPLES[request.param]
    if not available(found.engine) or found.key not in {item.key for item in voices(found.engine)}:
        pytest.skip(f"the voice {found.key} is not installed here")
    return found


@pytest.fixture(scope="module")
def spoken(voice):
    return voice.say(TEXT)


def loudness(audio, start, end):
    part = audio[int(start * SAMPLE_RATE) : max(int(start * SAMPLE_RATE) + 1, int(end * SAMPLE_RATE))]
    return 10 * np.log10(np.mean(np.square(part)) + 1e-9)


def pitch(audio):
    """Mean of the strongest periods of loud stretches, in Hz."""
    found = []
    for start in range(0, len(audio) - 1024, 512):
        frame = audio[start : start + 1024] - audio[start : start + 1024].mean()
        if np.sqrt(np.mean(frame**2)) > 0.3 * np.sqrt(np.mean(audio**2)):
            lags = np.correlate(frame, frame, "full")[1023:][40:230]
            found.append(SAMPLE_RATE / (40 + int(np.argmax(lags))))
    return float(np.median(found))


def test_the_sound_is_mono_float_at_16_khz_and_covered_by_phones(spoken):
    audio, phones = spoken
    assert audio.dtype == np.float32 and audio.ndim == 1
    assert 0.05 < np.abs(audio).max() <= 1
    assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(audio) / SAMPLE_RATE)
    assert all(a.end == pytest.approx(b.start) for a, b in zip(phones, phones[1:], strict=False))
    names = [phone.name for phone in phones]
    assert 38 < len([name for name in names if name != "SIL"]) < 60
    assert names.count("P") >= 6 and names.count("B") >= 3 and names.count("M") >= 3


def test_vowels_are_loud_voiceless_stops_quiet_and_pauses_silent(spoken):
    audio, phones = spoken
    vowels = np.mean([loudness(audio, p.start, p.end) for p in phones if p.name in ALL_VOWELS])
    stops = np.mean([loudness(audio, p.start, p.start + 0.5 * p.duration) for p in phones if p.name in ("P", "T", "K")])
    pauses = [loudness(audio, p.start + 0.03, p.end - 0.03) for p in phones if p.name == "SIL" and p.duration > 0.12]
    assert vowels > stops + 12
    assert pauses and vowels > np.mean(pauses) + 25


def test_vowel_labels_fit_the_energy_within_15_ms(spoken):
    audio, phones = spoken
    step = SAMPLE_RATE // 200
    count = len(audio) // step
    energy = 10 * np.log10(np.mean(np.square(audio[: count * step].reshape(count, step)), axis=1) + 1e-7)
    times = (np.arange(count) + 0.5) / 200
    rows = np.minimum(np.searchsorted([p.end for p in phones], times, side="right"), len(phones) - 1)
    vowel = np.array([phones[row].name in ALL_VOWELS for row in rows], dtype=float)
    fits = {lag: np.corrcoef(np.roll(vowel, lag)[20:-20], energy[20:-20])[0, 1] for lag in range(-12, 13)}
    assert abs(max(fits, key=fits.get)) <= 3


def test_a_quicker_rate_gives_a_shorter_sound_and_a_higher_pitch_a_higher_one(voice, spoken):
    quick, phones = voice.say(TEXT, rate=1.3)
    assert 0.66 < len(quick) / len(spoken[0]) < 0.85
    assert phones[-1].end == pytest.approx(len(quick) / SAMPLE_RATE)
    high, _ = voice.say(TEXT, pitch=1.25)
    assert pitch(high) > 1.08 * pitch(spoken[0])


def test_several_texts_at_once_are_said_as_one_by_one(voice):
    requests = [Request("Bob made a map."), Request("My puppy jumps.", 1.2, 1.1)]
    together = voice.say_all(requests)
    for request, (audio, phones) in zip(requests, together, strict=True):
        alone, labels = voice.say(request.text, request.rate, request.pitch)
        assert abs(len(alone) - len(audio)) < 0.05 * len(alone)
        assert [p.name for p in labels] == [p.name for p in phones]


def test_text_with_quotes_commands_and_markup_is_only_spoken(voice):
    audio, phones = voice.say('He said "(quit)" and \\n <break time="9s"/> $(ls) -o /tmp/none & left.')
    assert len(audio) > SAMPLE_RATE
    assert len(phones) > 10


def test_espeak_marks_stress():
    if not available("espeak"):
        pytest.skip("espeak-ng is not installed here")
    _, phones = SAMPLES["espeak"].say("A banana.")
    vowels = [(phone.name, phone.stress) for phone in phones if phone.name in ALL_VOWELS]
    assert [stress for _, stress in vowels].count(1) == 1


@pytest.mark.parametrize("language", ["fr", "de", "cmn", "ja", "es"])
def test_other_languages_have_their_phones(language):
    found = [item for item in voices("espeak", language) if "+" not in item.name]
    if not found:
        pytest.skip("espeak-ng is not installed here")
    from talking_face.sentence_lists import SENTENCES

    _, phones = found[0].say(" ".join(SENTENCES[language][:4]))
    names = {phone.name for phone in phones}
    expected = {"fr": "Y_ROUND", "de": "X", "cmn": "Y_ROUND", "ja": "IX", "es": "RR"}[language]
    assert expected in names
    assert len(names) > 12


def test_a_missing_synthesiser_is_one_clear_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OptionError, match="flite, which is not installed"):
        SAMPLES["flite"].say("Hello.")
