"""Which scripts a language is written in, and what of a text it cannot read."""

import re
import unicodedata

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
NAMES = {"CJK": "Chinese"}  # of scripts that Unicode calls otherwise


def script(letter: str) -> str:
    """The script of a letter in Unicode's capitals, such as "LATIN"; "" if it is no letter."""
    if not letter.isalpha():
        return ""
    return unicodedata.name(letter, "").partition(" ")[0].removesuffix("-")


def name(script: str) -> str:
    """A script as prose calls it, such as "Cyrillic"."""
    return NAMES.get(script, script.capitalize())


def partition(text: str, language: str) -> tuple[str, dict[str, str]]:
    """What of a text a language can read, and the rest.

    A language that is not written in Latin letters reads those as well: they stand for names and
    abbreviations in every script.

    Args:
        text: in any alphabet.
        language: as espeak-ng names it, such as "en-us" or "ru".

    Returns:
        The text without the words that have a letter of another script, and the first such word of
        each script.
    """
    readable = SCRIPTS.get(language.partition("-")[0], LATIN) | LATIN
    unreadable: dict[str, str] = {}

    def check(match: re.Match) -> str:
        word = match[0]
        for letter in word:
            kind = script(letter)
            if kind and kind not in readable and kind in LANGUAGES:
                unreadable.setdefault(kind, word)
                return " "
        return word

    return re.sub(r"[^\W\d_]+(?:['’][^\W\d_]+)*", check, text), unreadable
