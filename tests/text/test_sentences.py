"""Sentences: where they end, and where a dot ends none; the pauses after them."""

import pytest

from lin_jax.errors import TextError
from lin_jax.text import Sentence, sentences


def texts(text, **options):
    return [sentence.text for sentence in sentences(text, **options)]


def test_sentences():
    text = "Dr. J. Smith came. Did he?  “Yes!” And\nthen…\n\nA new line 3.14 long"
    assert texts(text) == [
        "Dr. J. Smith came.",
        "Did he?",
        "“Yes!”",
        "And then…",
        "A new line 3.14 long",
    ]
    assert texts("Привет. Как дела? 你好。再见。") == [
        "Привет.",
        "Как дела?",
        "你好。",
        "再见。",
    ]
    long = texts("one two three, four five six seven eight " * 300, max_length=60)
    assert max(map(len, long)) <= 60
    assert " ".join(long).split() == ("one two three, four five six seven eight " * 300).split()
    assert long[0].endswith("eight one two three,")
    assert set(map(len, texts("x" * 10_000, max_length=300))) == {294, 295}
    assert texts("[link] Go on.") == ["[link] Go on."]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two three four, five six seven", ["one two three four,", "five six seven"]),
        ("nobody said a word about it here", ["nobody said a word", "about it here"]),
        ("one two three four five", ["one two three", "four five"]),
        ("incomprehensibilities and I", ["incomprehensibilities", "and I"]),
    ],
)
def test_what_is_too_long_is_cut_evenly_where_a_phrase_begins(text, parts):
    """At a comma, else before a preposition or the like, else between words and never within."""
    assert texts(text, max_length=20) == parts
    for nothing in ("", " \n\t", "... — !", "\x00"):
        with pytest.raises(TextError, match="nothing to say"):
            sentences(nothing)


@pytest.mark.parametrize(
    "sentence",
    [
        "Take version 2.3.1 of it.",
        "See No. 5 and Fig. 2 on p. 7.",
        "The U.S. and the U.K. agreed.",
        "The U.S. Army left at 5 p.m. on Jan. 5.",
        "12 Main St. is here.",
        "St. Mary lived there.",
        "Go to www.example.com now.",
        "Apples, pears etc. are fruit.",
        "Smith et al. wrote it, cf. Jones.",
        "See vol. II of it.",
        "On Tue. and Wed. he came.",
    ],
)
def test_a_dot_within_a_sentence(sentence):
    assert texts(f"{sentence} Then another.") == [sentence, "Then another."]


@pytest.mark.parametrize(
    "text",
    [
        "He lives in the U.S. The end.",
        "He left at 5 p.m. She stayed.",
        "It was I. We went.",
        "No. I won't.",
    ],
)
def test_a_dot_that_ends_a_sentence(text):
    assert len(texts(text)) == 2


def test_pauses():
    assert sentences("One. Two,[pause 1.5] three\n\nfour") == [
        Sentence("One.", 0.3),
        Sentence("Two,", 1.5),
        Sentence("three", 0.7),
        Sentence("four", 0.1),
    ]
    for mark in ("[pause]", "[pause -1]", "[pause 1e9]", "[pause 61]"):
        with pytest.raises(TextError, match=r"as in \[pause 1\.5\]"):
            sentences(f"One. {mark} Two.")


def test_ssml_is_refused():
    with pytest.raises(TextError, match="SSML is not read"):
        sentences("<speak>Hello <break time='1s'/></speak>")


def test_a_word_that_is_said_again_and_again_is_set_off():
    (sentence,) = sentences("The the THE end, no no.")
    assert sentence.text == "The, the, THE end, no no."


@pytest.mark.parametrize(
    ("text", "phrased"),
    [
        (
            "the old man waited by the door because nobody had come",
            "the old man waited by the door, because nobody had come",
        ),
        ("he came, and the others went home with us", None),  # seven words since no mark
        ("I do not want to stand around and look", None),  # too little follows
        ("wait for it and go", None),
    ],
)
def test_a_long_stretch_without_a_mark_has_a_pause(text, phrased):
    assert texts(text) == [phrased or text]
