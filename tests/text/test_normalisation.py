"""Texts as they are read aloud: numbers, amounts, times, addresses and abbreviations in words."""

import sys

import pytest

from lin_jax.errors import TextError
from lin_jax.text import normalise


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
        ("$1.5 billion", "one point five billion dollars"),
        ("$5M", "five million dollars"),
        ("€2bn", "two billion euros"),
        ("$0.99 or $3.50", "ninety-nine cents or three dollars fifty cents"),
        ("5 $", "five dollars"),
        ("1/2 cup", "one half cup"),
        ("3/4 cup", "three quarters cup"),
        ("1 1/2, 1½ and ⅔", "one and a half, one and a half and two thirds"),
        ("24/7", "twenty-four seven"),
        ("555-0123", "five five five, zero one two three"),
        ("+1 (212) 555-0123", "plus one, two one two, five five five, zero one two three"),
        ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
        ("the 1800s", "the eighteen hundreds"),
        ("10:05, 10:30 and 10:00.", "ten oh five, ten thirty and ten o'clock."),
        ("9:00 am, 5 p.m.", "nine ay em, five pee em."),
        ("23:00", "twenty-three hundred"),
        ("2026-11-28", "november twenty-eighth, twenty twenty-six"),
        ("12/5/2020", "december fifth, twenty twenty"),
        ("version 2.3.1 or v2.0", "version two point three point one or version two point zero"),
        ("pages 10–20", "pages ten to twenty"),
        ("No. 5 and pp. 3-4", "number five and pages three to four"),
        ("Fig. 2", "figure two"),
        ("No. I said no.", "no. i said no."),
        ("The U.S. and", "the you ess and"),
        ("TVs, MP3, FBI", "tee vees, mp three, eff bee eye"),
        ("NASA SHOUTED", "nasa shouted"),
        ("12 Main St.", "twelve main street."),
        ("St. Mary of Main St. spoke", "saint mary of main street spoke"),
        ("www.example.com", "doubleyou doubleyou doubleyou dot example dot com"),
        ("see https://example.com/a-b.", "see example dot com slash a dash b."),
        ("a.b@c.org", "a dot b at c dot org"),
        ("5 km, 1 kg, 72°F", "five kilometres, one kilogram, seventy-two degrees fahrenheit"),
        ("World War II", "world war two"),
        ("#5, #tag, ~5", "number five, hashtag tag, about five"),
    ],
)
def test_english_as_a_reader_reads_it(text, spoken):
    assert normalise(text, "en-us") == spoken


def test_dates_of_a_region():
    assert normalise("12/5/2020", "en-gb") == "may twelfth, twenty twenty"
    assert normalise("99/99/2020", "en-gb").startswith("ninety-nine")


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
        normalise("8675 digits")
