"""Texts as they are read aloud: numbers, amounts, times, addresses and abbreviations in words."""

import sys

import pytest

from lin_jax import espeak
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
        ("9:00 am, 5 p.m.", "nine eigh m, five p m."),
        ("23:00", "twenty-three hundred"),
        ("2026-11-28", "november twenty-eighth, twenty twenty-six"),
        ("12/5/2020", "december fifth, twenty twenty"),
        ("version 2.3.1 or v2.0", "version two point three point one or version two point zero"),
        ("pages 10–20", "pages ten to twenty"),
        ("No. 5 and pp. 3-4", "number five and pages three to four"),
        ("Fig. 2", "figure two"),
        ("No. I said no.", "no. i said no."),
        ("The U.S. and", "the u s and"),
        ("TVs, MP3, FBI", "t v's, m p three, f b i"),
        ("NASA SHOUTED", "nasa shouted"),
        ("12 Main St.", "twelve main street."),
        ("St. Mary of Main St. spoke", "saint mary of main street spoke"),
        ("www.example.com", "w w w dot example dot com"),
        ("see https://example.com/a-b.", "see example dot com slash a dash b."),
        ("a.b@c.org", "a dot b at c dot org"),
        ("5 km, 1 kg, 72°F", "five kilometres, one kilogram, seventy-two degrees fahrenheit"),
        ("World War II", "world war two"),
        ("#5, #tag, ~5", "number five, hashtag tag, about five"),
    ],
)
def test_english_as_a_reader_reads_it(text, spoken):
    assert normalise(text, "en-us") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("a $20-a-day budget, -$5", "a twenty dollar a day budget, minus five dollars"),
        ("US$40, A$2.5k", "u s forty dollars, two point five thousand australian dollars"),
        ("£3.50, 12€, 5¢", "three pounds fifty pence, twelve euros, five cents"),
        ("On 9/11", "on nine eleven"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        (
            "dial 911; 4111 1111 1111",
            "dial nine one one; " + ", ".join(["four one one one"] + 2 * ["one one one one"]),
        ),
        ("in 1066, in 1905", "in ten sixty-six, in nineteen oh-five"),
        (
            "Jan. 5-7, 3 Dec 2001",
            "january fifth to seventh, the third of december two thousand and one",
        ),
        ("July 4, 1776. May I?", "july fourth, seventeen seventy-six. may i?"),
        ("Mon., Tue. and Wed. at 5", "monday, tuesday and wednesday at five"),
        ("They were wed. Then", "they were wed. then"),
        ("Python v2.0 in a V8 engine", "python version two point zero in a v eight engine"),
        ("README.md, a.docx", "readme dot md, a dot docx"),
        (
            "www.x.com/a?q=1&r#top",
            "w w w dot x dot com slash a question mark q equals one and r hash top",
        ),
        ("http://localhost:8080/.", "localhost colon eight zero eight zero."),
        ("ftp://a.org or mailto:me@b.net", "a dot org or me at b dot net"),
        (
            "192.168.0.1",
            "one hundred and ninety-two dot one hundred and sixty-eight dot zero dot one",
        ),
        ("The CIA and FBI's CDs", "the c i eigh and f b i's c d's"),
        ("MP3s, BA2490, IPv4", "m p threes, b eigh two four nine zero, i p v four"),
        ("vol. II, Henry VIII, Rocky III", "volume two, henry the eighth, rocky three"),
        ("World War I. Part V and (iv)", "world war one. part five and four"),
        ("I read Part I like Xi Jinping", "i read part i like shee jinping"),
        (
            "3 m², x², 10⁻⁶, 2^8",
            "three square metres, x squared, ten to the power of minus six, two to the power of eight",
        ),
        ("x<y, 5 > 3, 2≤3", "x is less than y, five is greater than three, two is at most three"),
        (".5, 3:1, 6'2\"", "point five, three to one, six foot two"),
        ("10 m/s or km/h", "ten metres per second or kilometres per hour"),
        ("<b>Bold</b> &amp; a <you@x.com>", "bold and a you at x dot com"),
        ("sad :-( but <3 ;)", "sad but"),
        ("Windows™", "windows"),
        ("Nguyễn in Łódź, Zürich", "nguyen in lódz, zürich"),
        ("Hm, sooo, shh!", "hmm, soo, shush!"),
        ("to Foo Ltd.", "to foo limited."),
        ("A b c, plan A, hepatitis A or B", "eigh b c, plan eigh, hepatitis eigh or b"),
        ("A T shirt, a, b", "a t shirt, a, b"),
        ("A.I. and the U.S.A.", "eigh i and the u s eigh."),
    ],
)
def test_no_word_is_lost_or_added(text, spoken):
    """Each was read with a word too few or too many, or one that no reader would say."""
    assert normalise(text, "en-us") == spoken


def test_letters_are_called_by_their_names():
    """What espeak-ng makes of spelt letters is what it makes of each alone."""
    pytest.importorskip("espeakng_loader")
    letters = "bcdefghijklmnopqrstuvwxyz"
    for letter, word in zip(letters, normalise(".".join(letters) + ".").split(), strict=True):
        assert espeak.phonemes(word, "en-us").strip("ˈˌ") == espeak.phonemes(letter, "en-us").strip(
            "ˈˌ"
        )
    assert espeak.phonemes(normalise("C.I.A. men"), "en-us").split()[2] == "ˈeɪ"


def test_dates_of_a_region():
    assert normalise("12/5/2020", "en-gb") == "may twelfth, twenty twenty"
    assert normalise("99/99/2020", "en-gb").startswith("ninety-nine")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Ёж, т. е. №5 — «ок»!", "ёж, то есть номер пять - ок!"),
        ("В 1-й раз 21 ₽, и т.д.", "в первый раз двадцать один рубль, и так далее."),
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
