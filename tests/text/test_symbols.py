"""Symbols of any alphabet; what cannot be read is named."""

import json
import warnings

import numpy as np
import pytest

from lin_jax import espeak
from lin_jax.errors import TextError
from lin_jax.text import END, PAD, SymbolTable


def test_table_survives_json():
    table = SymbolTable.of(["Hello, world.", "Привет!"])
    assert SymbolTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    ids = table.encode("Hello, привет.")
    assert ids.dtype == np.int32
    assert ids[-1] == END
    assert PAD not in ids
    assert ids.max() < len(table)
    assert table.decode([*ids, PAD, PAD]) == "hello, привет."
    with pytest.raises(TextError, match="choose characters or phonemes"):
        SymbolTable((), form="letters")


def test_unknown_symbols_are_named_and_skipped():
    table = SymbolTable.of(["the quick brown fox jumps over a lazy dog, cafe."])
    with pytest.warns(
        UserWarning, match=r"cannot read: 😀 \(grinning face\), ж \(cyrillic small letter zhe\)$"
    ):
        assert table.decode(table.encode("fox 😀😀 жdog")) == "fox  dog"
    assert table.decode(table.encode("Café ﬁne")) == "cafe fine"  # without a warning
    with pytest.raises(TextError, match=r"nothing to say: this voice cannot read п \("):
        table.encode("Привет")
    with pytest.raises(TextError, match=r"cannot read .* and 2 more$"):
        table.encode("абвгдежзий"[:10])
    for nothing in ("", "   ", "...", "\x00\n"):
        with pytest.raises(TextError, match="nothing to say: give"):
            table.encode(nothing)


def test_any_text_gives_numbers_or_a_clear_error():
    rng = np.random.default_rng(0)
    table = SymbolTable.of(["abc ,."])
    for _ in range(50):
        text = "".join(map(chr, rng.integers(0, 0x3000, 30)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ids = table.encode(text)
            except TextError as error:
                assert len(str(error)) < 600  # noqa: PT017  either outcome is right
            else:
                assert ids.max() < len(table)


def test_phonemes():
    pytest.importorskip("espeakng_loader")
    table = SymbolTable.of(["Hello, world. How are you?"], "en-us", "phonemes")
    assert table.spell("Hello,  world. ") == "həlˈoʊ, wˈɜːld."
    assert table.decode(table.encode("Hello, world.")) == "həlˈoʊ, wˈɜːld."
    assert table.spell("3.50 we") == table.spell("three point five we")
    assert SymbolTable.of(["Привет"], "ru", "phonemes").spell("Привет, мир!") == "prʲivʲˈet, mʲˈir!"
    assert "(" not in SymbolTable((), "ru", "phonemes").spell("привет hello")
    with pytest.raises(TextError, match="does not speak 'nowhere'"):
        espeak.phonemes("hello", "nowhere")


def test_phonemes_need_espeak(monkeypatch):
    monkeypatch.setattr(espeak.importlib.util, "find_spec", lambda name: None)
    espeak.library.cache_clear()
    with pytest.raises(
        TextError, match=r"espeak-ng is not installed: pip install 'lin_jax\[tts\]'"
    ):
        SymbolTable((), "ru", "phonemes").spell("привет")


def test_other_scripts_are_refused_by_name():
    """espeak-ng would name their letters one by one; a language is what reads them."""
    pytest.importorskip("espeakng_loader")
    table = SymbolTable.of(
        ["the quick brown fox jumps over a lazy dog, hello world"], "en-us", "phonemes"
    )
    with pytest.raises(TextError, match=r"Cyrillic letters \(Привет\); .*--config\.language=ru"):
        table.encode("Привет, как дела?")
    with pytest.raises(TextError, match=r"Chinese letters \(你好\); .*--config\.language=cmn"):
        table.encode("你好，世界。")
    with pytest.raises(TextError, match="grinning face"):
        table.encode("😀")
    with pytest.warns(UserWarning, match=r"Cyrillic letters \(Привет\), 😀 \(grinning face\)$"):
        assert table.decode(table.encode("hello Привет 😀")) == table.spell("hello")
    russian = SymbolTable.of(["Привет, мир hello"], "ru", "phonemes")
    assert russian.decode(russian.encode("Привет, hello")) == russian.spell("Привет, hello")


def test_each_script_is_read_in_its_language():
    pytest.importorskip("espeakng_loader")
    texts = ["Press one or two, please.", "Нажмите два, пожалуйста."]
    table = SymbolTable.of(texts, "en-us", "phonemes", ("ru",))
    assert SymbolTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    english, russian = (SymbolTable((), name, "phonemes") for name in ("en-us", "ru"))
    assert table.spell(texts[0]) == english.spell(texts[0])
    assert table.spell(texts[1]) == russian.spell(texts[1])
    # Figures are read as the words before them, or at the beginning as the first word.
    assert table.normalise("Press 1 или 2, please 3") == "press one или два, please three"
    assert table.normalise("2 сообщения") == "два сообщения"
    assert table.spell("Press или") == f"{english.spell('Press')} {russian.spell('или')}"
    with pytest.raises(TextError, match=r"a voice of en-us and ru cannot read Greek letters"):
        table.encode("Γειά σου")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("well: go", "well, go"),  # the table has no colon
        ("go • well*", "go well"),  # it would say "bullet"
        ("P\u0430yp\u0430l", "Paypal"),  # two Cyrillic letters
        ("Llan", "Lan"),  # espeak-ng's ɬ
    ],
)
def test_signs_are_neither_named_nor_dropped_with_a_word(text, same):
    pytest.importorskip("espeakng_loader")
    table = SymbolTable.of(["well, go paypal lan"], "en-us", "phonemes")
    read = table.decode(table.encode(text)).replace("ˈ", "")
    assert read.split() == table.spell(same).replace("ˈ", "").split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("In the end, of the", [("in", "the"), ("end",), ("of", "the")]),
        ("I have to be there", [("i",), ("have",), ("to", "be"), ("there",)]),
        ("9 a.m. weighs", [("nine",), ("a",), ("m",), ("weighs",)]),
        ("there is no in, the", [("there",), ("is",), ("no",), ("in",), ("the",)]),
        ("$5 - 'tis 东 o'clock", [("five",), ("dollars",), ("tis",), ("o'clock",)]),
    ],
)
def test_words_by_letters_are_as_many_as_by_phonemes(text, words):
    """espeak-ng joins some, by what follows: each has a time of its own all the same."""
    pytest.importorskip("espeakng_loader")
    table = SymbolTable((), "en-us", "phonemes")
    assert table.words(text) == words
    assert len(table.spell(text.replace("东", "")).replace(",", " ").split()) == len(words)
    characters = SymbolTable((), "en-us")
    assert characters.words("in the end") == [("in",), ("the",), ("end",)]


def test_an_emoji_and_its_skin_are_named():
    pytest.importorskip("espeakng_loader")
    table = SymbolTable.of(["go well"], "en-us", "phonemes")
    with pytest.warns(UserWarning, match=r"👍 \(thumbs up sign\), 🏽 \(emoji modifier .*\)$"):
        assert table.decode(table.encode("go 👍🏽 well")).split() == table.spell("go well").split()


def test_marks_that_espeak_leaves_of_vowels_are_no_symbols():
    pytest.importorskip("espeakng_loader")
    assert '"' not in espeak.phonemes("включить", "ru")
    assert "^" not in espeak.phonemes("теперь", "ru")
