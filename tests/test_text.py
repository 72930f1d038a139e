"""Text: numbers and abbreviations as they are spoken, symbols of any alphabet, and what cannot be read is named."""

import json
import sys
import warnings

import numpy as np
import pytest

from lin_jax import espeak
from lin_jax.errors import TextError
from lin_jax.text import END, PAD, SymbolTable, normalise, sentences


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Mr. O’Neil left—at 10:30.", "mister o'neil left - at ten thirty."),
        ("$5.20, or $3; 1,234 sold.", "five dollars twenty cents, or three dollars; {} sold."),
        ("In 1984 the 3rd and the 22nd", "in nineteen eighty-four the third and the twenty-second"),
        ("minus: -5, 3.14, 007", "minus: minus five, three point one four, zero zero seven"),
        ("“Well…” (he said) 50% & more!!", "well. he said fifty percent and more!"),
        ("tab\tand\x00 zero\u200bwidth\ufeff", "tab and zerowidth"),
        ("ﬁne  ｆｕｌｌ", "fine full"),
        ("B2B e.g. this", "b two b for example this"),
    ],
)
def test_english(text, spoken):
    assert normalise(text, "en-us") == spoken.format("one thousand, two hundred and thirty-four")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Ёж, т. е. №5 — «ок»!", "ёж, то есть номер пять - ок!"),
        ("В 1-й раз 21 ₽, и т.д.", "в первый раз двадцать один рубль, и так далее"),
        (
            "до 22-го, 1 000 000 и 3,5%",
            "до двадцать второго, один миллион и три целых пять десятых процентов",
        ),
    ],
)
def test_russian(text, spoken):
    assert normalise(text, "ru") == spoken


def test_numbers_that_cannot_be_read(monkeypatch):
    assert normalise("1" * 5000).count("one") == 5000
    with pytest.raises(TextError, match="too large a number"):
        normalise("1" * 5000 + ".5")
    with pytest.raises(TextError, match="does not count in 'xx'"):
        normalise("5", "xx")
    monkeypatch.setitem(sys.modules, "num2words", None)
    assert normalise("no digits") == "no digits"
    with pytest.raises(TextError, match=r"pip install 'lin_jax\[tts\]'"):
        normalise("5 digits")


def test_sentences():
    text = "Dr. J. Smith came. Did he?  “Yes!” And\nthen…\n\nA new line 3.14 long"
    assert sentences(text) == [
        "Dr. J. Smith came.",
        "Did he?",
        "“Yes!”",
        "And then…",
        "A new line 3.14 long",
    ]
    assert sentences("Привет. Как дела? 你好。再见。") == [
        "Привет.",
        "Как дела?",
        "你好。",
        "再见。",
    ]
    long = sentences("one two three, four five six seven eight " * 300, longest=60)
    assert max(map(len, long)) <= 60
    assert " ".join(long).split() == ("one two three, four five six seven eight " * 300).split()
    assert long[0].endswith("eight one two three,")
    assert list(map(len, sentences("x" * 10_000, longest=300))) == [300] * 33 + [100]
    for nothing in ("", " \n\t", "... — !", "\x00"):
        with pytest.raises(TextError, match="nothing to say"):
            sentences(nothing)


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
