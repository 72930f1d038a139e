"""Made sentences: plenty, all different, whole, and of the right alphabet."""

import itertools
import re

import pytest

from data_pipelines import sentences
from lin_jax.errors import CorpusError


@pytest.mark.parametrize(
    ("language", "letters"), [("en", "[A-Za-z ,.?!]+"), ("ru", "[А-Яа-яЁё ,.?!-]+")]
)
def test_sentences_are_whole_and_all_different(language, letters):
    made = list(itertools.islice(sentences.make(language), 1500))
    assert len(set(made)) == len(made)
    assert all(
        re.fullmatch(letters, text) and text[0].isupper() and text[-1] in ".?!" for text in made
    )
    assert made[:20] == list(itertools.islice(sentences.make(language), 20))
    assert made[:20] != list(itertools.islice(sentences.make(language, seed=1), 20))
    alphabet = (
        "abcdefghijklmnopqrstuvwxyz" if language == "en" else "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    )
    assert set(alphabet) <= set("".join(made).lower())


def test_every_choice_is_of_known_parts():
    for language, grammar in sentences.GRAMMARS.items():
        for choices in grammar.values():
            assert set(re.findall(r"{(\w+)}", choices)) <= set(grammar), language


def test_an_article_suits_what_follows():
    made = " ".join(itertools.islice(sentences.make("en"), 3000))
    assert " an old " in made
    assert not re.search(r"\b[Aa] (?:old|apple|egg|ear|island|onion|orange)\b", made)
    assert not re.search(r"\b[Aa]n (?:yellow|youth|unusual)\b", made.replace("an unusual", ""))


def test_a_language_without_a_grammar_is_named():
    with pytest.raises(CorpusError, match="choose en or ru"):
        next(sentences.make("fr"))
