"""Which scripts a language is written in, and what of a text it cannot read."""

import re
import unicodedata
from collections.abc import Sequence

LATIN = frozenset({"LATIN"})
CYRILLIC = frozenset({"CYRILLIC"})
SCRIPTS = {  # of languages that are not written in Latin letters alone
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "kk", "ky", "tt", "cv", "ba"), CYRILLIC),
    "sr": LATIN | CYRILLIC,
    "el": frozenset({"GREEK"}),
    "grc": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "sd"), frozenset({"ARABIC"})),
    **dict.fromkeys(("hi", "mr", "ne", "kok"), frozenset({"DEVANAGARI"})),
    "bn": frozenset({"BENGALI"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "th": frozenset({"THAI"}),
    "ka": frozenset({"GEORGIAN"}),
    "hy": frozenset({"ARMENIAN"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "ja": frozenset({"HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA"}),
    **dict.fromkeys(("cmn", "yue", "zh"), frozenset({"CJK"})),
}
LANGUAGES = {  # that a text in a script is most often in, as espeak-ng names them
    "CYRILLIC": "ru",
    "GREEK": "el",
    "HEBREW": "he",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "cmn",
    "LATIN": "en-us",
}
WORD = r"[^\W\d_]+(?:['’][^\W\d_]+)*"
_LATIN, _CYRILLIC = "AaBEeKMHOoPpCcTyXxIiJjSs", "АаВЕеКМНОоРрСсТуХхІіЈјЅѕ"  # look the same
_TO_LATIN, _TO_CYRILLIC = str.maketrans(_CYRILLIC, _LATIN), str.maketrans(_LATIN, _CYRILLIC)
NAMES = {"CJK": "Chinese"}  # of scripts that Unicode calls otherwise


def script(letter: str) -> str:
    """The script of a letter in Unicode's capitals, such as "LATIN"; "" if it is no letter."""
    if not letter.isalpha():
        return ""
    return unicodedata.name(letter, "").partition(" ")[0].removesuffix("-")


def name(script: str) -> str:
    """A script as prose calls it, such as "Cyrillic"."""
    return NAMES.get(script, script.capitalize())


def without_lookalikes(text: str) -> str:
    """A text with Cyrillic letters in Latin words, and the reverse, where they look the same."""

    def mend(match: re.Match) -> str:
        word = match[0]
        if not {*map(script, word)} >= LATIN | CYRILLIC:
            return word
        for alphabet in (_TO_LATIN, _TO_CYRILLIC):
            mended = word.translate(alphabet)
            if mended != word and len({*map(script, mended)} - {""}) == 1:
                return mended
        return word

    return re.sub(WORD, mend, text)


def of_language(language: str) -> frozenset[str]:
    """The scripts that a language, as espeak-ng names it, is written in."""
    return SCRIPTS.get(language.partition("-")[0], LATIN)


def partition(text: str, *languages: str) -> tuple[str, dict[str, str]]:
    """What of a text some languages can read, and the rest.

    A language that is not written in Latin letters reads those as well: they stand for names and
    abbreviations in every script.

    Args:
        text: in any alphabet.
        languages: as espeak-ng names them, such as "en-us" or "ru".

    Returns:
        The text without the words that have a letter of another script, and the first such word of
        each script.
    """
    readable = LATIN.union(*map(of_language, languages))
    unreadable: dict[str, str] = {}

    def check(match: re.Match) -> str:
        word = match[0]
        for letter in word:
            kind = script(letter)
            if kind and kind not in readable and kind in LANGUAGES:
                unreadable.setdefault(kind, word)
                return " "
        return word

    return re.sub(WORD, check, text), unreadable


def by_language(text: str, languages: Sequence[str]) -> list[tuple[str, str]]:
    """Stretches of a text, each with the language that reads it.

    A word is read in the first of the languages that is written in its script; figures and marks
    belong to the words before them, and at the beginning of a text to its first word.

    Args:
        text: in any alphabet.
        languages: as espeak-ng names them.

    Returns:
        Pairs of a language and the stretch in it, which together are the text.
    """
    language, start, stretches = "", 0, []
    for word in re.finditer(WORD, text):
        kind = script(word[0][0])
        reader = next((name for name in languages if kind in of_language(name)), languages[0])
        if language and reader != language:
            stretches.append((language, text[start : word.start()]))
            start = word.start()
        language = reader
    return [*stretches, (language or languages[0], text[start:])]
