"""Festival's voices of other languages: every phone name is known, and sounds lie where their labels say."""

import subprocess

import numpy as np
import pytest
from scipy.io import wavfile

from animate.errors import OptionError
from talking_face import corpus, festival_sentences
from talking_face.festival_phones import PHONE_SETS, VOICES
from talking_face.phones import ALL_VOWELS, BILABIALS, PHONES, from_festival
from talking_face.sentences import utterance
from talking_face.voice_engines import _festival_result, available
from talking_face.voices import SAMPLE_RATE, voices

# The names in each phone set as festival's own lisp files list them.
NAMES = {
    "cs": """# _ a a: b c c~ ch d d~ dz dz~ e e: f g h i i: j k l m n n* n~ o o: p r r~ r~* s s~ t t~ u u: v z z~""",
    "it": """i e E a o O u i1 e1 E1 a1 o1 O1 u1 j w p t k b d g f s S v z Z ts tS dz dZ m n J ng nf l L r #""",
    "fi": """a e i o u y @ 7 & a: e: i: o: u: y: @: 7: p t k b d g f T D s z S Z h v m n N l L r j w p: t: k: b: d: g:
    f: T: D: s: z: S: Z: h: v: m: n: N: w: l: L: r: j: ## #""",
    "hi": """a aa ih iy uh uw eh ee ay oh oo aw f k g ch T D N th dh n p b m y r l v L R s sh j h ksh sri x kh gh td tth
    ddh bh zh @ pau w""",
}
NAMES |= {"mr": NAMES["hi"], "te": NAMES["hi"]}
RECORDED = [item for item in voices("festival") if item.name in VOICES]
needs_a_voice = pytest.mark.skipif(not RECORDED, reason="none of festival's voices of other languages is installed")


@pytest.mark.parametrize("language", NAMES)
def test_every_phone_name_maps_to_one_of_ours(language):
    assert {from_festival(name, language) for name in NAMES[language].split()} <= set(PHONES)


@pytest.mark.parametrize("language", NAMES)
def test_lips_close_in_p_b_and_m_only(language):
    closed = {name for name in NAMES[language].split() if from_festival(name, language) in BILABIALS}
    assert closed == {name for name in closed if name.rstrip(":") in ("p", "b", "m", "bh")}
    assert {"p", "b", "m"} <= closed


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="not a phone of festival's voices for 'cs'"):
        from_festival("qq", "cs")


def test_every_voice_has_a_phone_set_a_text_and_an_encoding_that_can_write_it():
    for item in VOICES.values():
        assert item.language in PHONE_SETS
        text = " ".join(utterance(np.random.default_rng(0), item.language, recorded=True))
        assert text.encode(item.encoding) and item.licence and item.package


@pytest.mark.parametrize("language", festival_sentences._SYLLABLES)
def test_made_up_words_differ_by_seed_only(language):
    made = [festival_sentences.made_up(np.random.default_rng(seed), language) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_a_text_with_an_unrecorded_joint_gives_no_sound(tmp_path):
    wavfile.write(tmp_path / "0.wav", 16000, np.ones(1600, np.int16))
    (tmp_path / "0.lab").write_text("#\n 0.02 100 #\n 0.06 100 ch\n 0.1 100 h\n")
    audio, _, phones = _festival_result(tmp_path / "0", "cs", 0.0)
    assert len(audio) == 1600 and [phone.name for phone in phones] == ["SIL", "X", "HH"]
    audio, _, phones = _festival_result(tmp_path / "0", "cs", 0.0, {b"ch-h"})
    assert not len(audio) and not phones


@needs_a_voice
@pytest.mark.parametrize("voice", RECORDED, ids=lambda item: item.name)
def test_the_installed_phone_set_is_known_and_vowels_lie_on_the_energy(voice, tmp_path):
    listing = f"(voice_{voice.name}) (print (mapcar car (cadr (assoc 'phones (PhoneSet.description)))))"
    found = subprocess.run(["festival", "-b", f"(begin {listing})"], capture_output=True, text=True, check=True).stdout
    names = found.replace("(", " ").replace(")", " ").replace('"', " ").split()
    assert len(names) > 30
    assert {from_festival(name, voice.language) for name in names} <= set(PHONES)

    audio, phones = voice.say(" ".join(utterance(np.random.default_rng(2), voice.language, recorded=True)))
    if not len(audio):
        pytest.skip("this text has a joint that the voice lacks")
    step = SAMPLE_RATE // 200
    count = len(audio) // step
    energy = 10 * np.log10(np.mean(np.square(audio[: count * step].reshape(count, step)), axis=1) + 1e-7)
    rows = np.searchsorted([phone.end for phone in phones], (np.arange(count) + 0.5) / 200, side="right")
    vowel = np.array([phones[min(row, len(phones) - 1)].name in ALL_VOWELS for row in rows], dtype=float)
    fits = {lag: np.corrcoef(np.roll(vowel, lag)[20:-20], energy[20:-20])[0, 1] for lag in range(-12, 13)}
    assert abs(max(fits, key=fits.get)) <= 3


@needs_a_voice
def test_a_corpus_of_named_voices_holds_only_these():
    patterns = (RECORDED[0].key, "festival:*_NSK_*" if len(RECORDED) > 6 else RECORDED[0].key)
    allowed = {item.key for item in RECORDED if item.key == RECORDED[0].key or "_NSK_" in item.name}
    assert {corpus.plan(index, 0, patterns).voice.key for index in range(60)} <= allowed


@pytest.mark.skipif(not available("festival"), reason="festival is not installed here")
def test_a_name_that_no_voice_has_is_one_clear_sentence():
    with pytest.raises(OptionError, match="No voice here is called nobody:"):
        corpus.plan(0, 0, ("nobody:*",))
