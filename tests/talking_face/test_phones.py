"""The phone inventory: other programs' names map into it, and labels cover a sound without gaps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talking_face.phones import (
    BILABIALS,
    PHONES,
    Phone,
    contiguous,
    from_arpabet,
    from_festival,
    from_ipa,
    ipa_phones,
    stress_of,
)


def test_the_inventory_has_silence_first_and_no_name_twice():
    assert PHONES[0] == "SIL"
    assert len(set(PHONES)) == len(PHONES) == 1 + 39 + 8


def test_a_phone_outside_the_inventory_is_refused():
    with pytest.raises(ValueError, match="'QQ'"):
        Phone("QQ", 0, 1)


@pytest.mark.parametrize(
    ("name", "phone"),
    [("ax", "AH"), ("AH0", "AH"), ("ER1", "ER"), ("pau", "SIL"), ("dx", "D"), ("+NSN+", "SIL"), ("<sil>", "SIL")],
)
def test_arpabet_of_several_programs(name, phone):
    assert from_arpabet(name) == phone


def test_an_unknown_arpabet_symbol_is_an_error():
    with pytest.raises(KeyError, match="'QX'"):
        from_arpabet("QX")


@pytest.mark.parametrize(
    ("symbol", "phones"),
    [
        *(("oʊ", ("OW",)), ("ˈaɪ", ("AY",)), ("t͡ʃ", ("CH",)), ("dʒ", ("JH",)), ("ts", ("T", "S")), ("pf", ("P", "F"))),
        *(("y", ("Y_ROUND",)), ("øː", ("Y_ROUND",)), ("ɑ̃", ("AA",)), ("ç", ("X",)), ("ɸ", ("PH",)), ("r", ("RR",))),
        *(("ɜː", ("ER",)), ("ɜ", ("AH",)), ("aɪɚ", ("AY", "ER")), ("ɡ", ("G",)), ("ss", ("S",)), ("", ()), ("ʲ", ())),
    ],
)
def test_ipa_symbols(symbol, phones):
    assert ipa_phones(symbol) == phones


def test_one_phone_for_an_ipa_symbol():
    assert from_ipa("b") == "B"
    assert from_ipa("ː") == "SIL"
    with pytest.raises(KeyError):
        from_ipa("漢")


def test_bilabial_fricatives_do_not_count_as_closed_lips():
    assert {from_ipa(letter) for letter in "pbm"} == BILABIALS
    assert from_ipa("β") not in BILABIALS


def test_catalan_names_of_festival():
    assert [from_festival(name, "ca") for name in ("pau", "a1", "ax", "EE1"[1:], "ny", "rr")] == [
        *("SIL", "A", "AH", "EH", "N", "RR")
    ]


def test_stress_marks():
    assert [stress_of(symbol) for symbol in ("ˈoʊ", "ˌa", "ə", "AH1", "AH0")] == [1, 2, 0, 1, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PHONES), st.floats(-0.5, 3), st.floats(-0.5, 3)), max_size=12),
    st.floats(0.01, 2.5),
)
def test_labels_cover_the_sound_whatever_comes_in(items, duration):
    phones = contiguous([Phone(name, start, end) for name, start, end in items], duration)
    assert phones[0].start == 0
    assert phones[-1].end == pytest.approx(duration, abs=2e-6)
    for before, after in zip(phones, phones[1:], strict=False):
        assert before.end == pytest.approx(after.start, abs=2e-6)
        assert not before.name == after.name == "SIL"
    assert all(phone.duration > 0 for phone in phones)


def test_a_long_gap_is_silence_and_a_short_one_belongs_to_the_phone_before():
    phones = contiguous([Phone("P", 0.1, 0.2), Phone("AA", 0.22, 0.3), Phone("M", 0.5, 0.6)], 0.6)
    assert [phone.row() for phone in phones] == [
        *(["SIL", 0.0, 0.1, 0], ["P", 0.1, 0.22, 0], ["AA", 0.22, 0.3, 0], ["SIL", 0.3, 0.5, 0], ["M", 0.5, 0.6, 0])
    ]
