"""Sentences for synthetic speech: many, in several languages, and a function of the seed."""

import numpy as np
import pytest

from talking_face import sentences


def test_the_same_seed_writes_the_same():
    assert sentences.utterance(np.random.default_rng(3)) == sentences.utterance(np.random.default_rng(3))


def test_english_has_thousands_of_sentences_and_no_open_slots():
    rng = np.random.default_rng(0)
    texts = {sentences.sentence(rng) for _ in range(6000)}
    assert len(texts) > 4000
    assert not [text for text in texts if set(text) & set("{}|\n") or "  " in text]


@pytest.mark.parametrize("language", sentences.languages())
def test_every_language_has_utterances(language):
    texts = sentences.utterance(np.random.default_rng(1), language)
    assert 1 <= len(texts) <= 4
    assert all(text.strip() for text in texts)


@pytest.mark.parametrize(("tag", "like"), [("en-gb-scotland", "en"), ("es-419", "es"), ("pt", "pt-br")])
def test_regional_tags_use_their_language(tag, like):
    assert sentences.sentence(np.random.default_rng(5), tag) == sentences.sentence(np.random.default_rng(5), like)


def test_an_unknown_language_is_an_error():
    with pytest.raises(KeyError, match="'xx'"):
        sentences.sentence(np.random.default_rng(0), "xx")


def test_a_command_has_six_words():
    assert len(sentences.command(np.random.default_rng(0)).split()) == 6
