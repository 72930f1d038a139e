"""From a text to the symbols that a synthesizer reads: any alphabet, as characters or as phonemes.

Shape letter: L symbols.
"""

import dataclasses
import decimal
import functools
import re
import unicodedata
import warnings
from collections.abc import Iterable

import numpy as np

from lin_jax import espeak
from lin_jax.errors import TextError

PAD, END = 0, 1  # numbers of no symbol and of the end of a text; the symbols themselves follow
FORMS = ("characters", "phonemes")
MAX_NUMBER = 12  # digits; longer ones are read digit by digit

_PUNCTUATION = str.maketrans(
    dict.fromkeys('“”„«»‹›"()[]{}*_#|<>~', " ")
    | dict.fromkeys("‘’ʼ`´", "'")
    | dict.fromkeys("‐‑‒−", "-")
    | dict.fromkeys("–—―", " - ")
)
_PAUSES = ".,;:!?"

ABBREVIATIONS = {
    "en": {
        "mr.": "mister",
        "mrs.": "missis",
        "ms.": "miss",
        "dr.": "doctor",
        "prof.": "professor",
        "st.": "saint",
        "jr.": "junior",
        "sr.": "senior",
        "gen.": "general",
        "col.": "colonel",
        "capt.": "captain",
        "lt.": "lieutenant",
        "rev.": "reverend",
        "vs.": "versus",
        "etc.": "et cetera",
        "e.g.": "for example",
        "i.e.": "that is",
        "approx.": "approximately",
    },
    "ru": {
        "т.е.": "то есть",
        "т.к.": "так как",
        "т.д.": "так далее",
        "т.п.": "тому подобное",
        "т.н.": "так называемый",
        "др.": "другие",
        "пр.": "прочее",
        "ул.": "улица",
        "им.": "имени",
        "см.": "смотри",
        "руб.": "рублей",
        "коп.": "копеек",
        "тыс.": "тысяч",
        "млн.": "миллионов",
        "млрд.": "миллиардов",
    },
}
SIGNS = {
    "en": {
        "%": "percent",
        "&": "and",
        "+": "plus",
        "=": "equals",
        "@": "at",
        "°": "degrees",
        "№": "number",
    },
    "ru": {
        "%": "процентов",
        "&": "и",
        "+": "плюс",
        "=": "равно",
        "@": "собака",
        "°": "градусов",
        "№": "номер",
    },
}
CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "₽": "RUB"}
_RUSSIAN_ORDINALS = {
    "й": {},
    "ый": {},
    "ий": {},
    "я": {"gender": "f"},
    "ая": {"gender": "f"},
    "е": {"gender": "n"},
    "ое": {"gender": "n"},
    "го": {"case": "g"},
    "му": {"case": "d"},
    "х": {"case": "g", "plural": True},
}


def normalise(text: str, language: str = "en") -> str:
    """Write a text as it is spoken: lower case, plain punctuation, numbers and abbreviations in words.

    Args:
        text: in any alphabet.
        language: of its numbers and abbreviations, such as "en", "en-us" or "ru".

    Returns:
        The text with single spaces; what is neither known nor punctuation stands as it was.

    Raises:
        TextError: there are numbers in it, and num2words is not installed or does not count in that
            language.
    """
    language = language.partition("-")[0]
    text = text.replace("№", f" {SIGNS.get(language, {}).get('№', 'no')} ")
    text = unicodedata.normalize("NFKC", text.translate(_PUNCTUATION)).lower()
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or not _silent(c))
    for short, words in ABBREVIATIONS.get(language, {}).items():
        pattern = re.escape(short).replace(r"\.", r"\.\s?").removesuffix(r"\s?")
        text = re.sub(rf"(?<!\w){pattern}", words, text)
    if re.search(r"\d", text):
        text = _numbers(text, language)
    for sign, word in SIGNS.get(language, {}).items():
        text = text.replace(sign, f" {word} ")
    text = re.sub(
        r"(?<!\w)-+|-+(?!\w)", " - ", text.replace("/", " ")
    )  # a dash; within a word it is a hyphen
    text = re.sub(rf"\s+(?=[{_PAUSES}])", "", text)
    text = re.sub(rf"([{_PAUSES}])[{_PAUSES}]*", r"\1", text)
    return " ".join(text.split())


def sentences(text: str, longest: int = 200) -> list[str]:
    """Cut a text into sentences, and those that are too long at a pause, else between words.

    Args:
        text: of any length.
        longest: characters in a piece.

    Returns:
        Pieces in order, none of them blank; TextError if there is nothing to say.
    """
    known = {short for language in ABBREVIATIONS.values() for short in language}
    pieces = []
    for line in re.split(r"\n\s*\n|\r", text):
        start = 0
        for end in re.finditer(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|(?<=[。！？])", line):
            word = (line[start : end.end()].split() or [""])[-1].lower()
            if word in known or re.fullmatch(
                r"\W*[^\W\d_]\.", word
            ):  # an abbreviation, or an initial
                continue
            pieces.append(line[start : end.end()])
            start = end.end()
        pieces.append(line[start:])
    pieces = [part for piece in pieces for part in _shorten(" ".join(piece.split()), longest)]
    pieces = [piece for piece in pieces if any(map(str.isalnum, piece))]
    if not pieces:
        raise TextError("nothing to say: give a text with words in it")
    return pieces


@dataclasses.dataclass(frozen=True)
class SymbolTable:
    """The symbols a synthesizer was trained on, kept with it.

    Attributes:
        symbols: each one character, or one character of the IPA; symbol i has the number i + 2.
        language: in which numbers are read and phonemes made, as espeak-ng names it: "en-us", "ru".
        form: "characters" or "phonemes".
    """

    symbols: tuple[str, ...]
    language: str = "en-us"
    form: str = "characters"

    def __post_init__(self):
        if self.form not in FORMS:
            raise TextError(f"unknown form {self.form!r} of symbols: choose {' or '.join(FORMS)}")

    @classmethod
    def of(
        cls, texts: Iterable[str], language: str = "en-us", form: str = "characters"
    ) -> "SymbolTable":
        """The table of all symbols that occur in some texts."""
        empty = cls((), language, form)
        return dataclasses.replace(
            empty, symbols=tuple(sorted(set().union(*map(empty.spell, texts))))
        )

    def __len__(self) -> int:
        """How many numbers there are, those of no symbol and of the end included."""
        return len(self.symbols) + 2

    def to_dict(self) -> dict:
        """The table as plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"symbols": "".join(self.symbols)}

    @classmethod
    def from_dict(cls, values: dict) -> "SymbolTable":
        """The table that `to_dict` came from."""
        return cls(**values | {"symbols": tuple(values["symbols"])})

    def spell(self, text: str) -> str:
        """A text in the form of this table, normalised; its symbols need not be in it."""
        text = normalise(text, self.language)
        if self.form == "characters":
            return text
        pieces = re.split(rf"([{_PAUSES}])", text.replace(" - ", ", "))
        pieces = [
            piece if piece in _PAUSES else espeak.phonemes(piece, self.language) for piece in pieces
        ]
        return re.sub(rf"([{_PAUSES}])(?=\S)", r"\1 ", "".join(pieces))

    def encode(self, text: str) -> np.ndarray:
        """Numbers of the symbols of a text.

        A symbol that the table lacks is read without its accents; where that does not help it is
        skipped, and named in a warning.

        Args:
            text: what to say.

        Returns:
            int32 [L], the last one `END`.

        Raises:
            TextError: nothing in the text can be said, or something to read it with is not
                installed.
        """
        number = {symbol: i for i, symbol in enumerate(self.symbols, END + 1)}
        spelt, ids, unknown, spoken = self.spell(text), [], [], False
        for symbol in spelt:
            plain = (
                [symbol]
                if symbol in number
                else [c for c in unicodedata.normalize("NFKD", symbol) if c in number]
            )
            if not plain and symbol not in unknown and not symbol.isspace():
                unknown.append(symbol)
            ids += [number[c] for c in plain]
            spoken |= any(map(str.isalnum, plain))
        if unknown:
            named = ", ".join(
                f"{c} ({unicodedata.name(c, f'U+{ord(c):04X}').lower()})" for c in unknown[:8]
            )
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            if not spoken:
                raise TextError(f"nothing to say: this voice cannot read {named}{more}")
            warnings.warn(f"skipped what this voice cannot read: {named}{more}", stacklevel=2)
        if not spoken:
            raise TextError("nothing to say: give a text with words in it")
        return np.array([*ids, END], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The symbols of some numbers, padding and end left out."""
        return "".join(self.symbols[i - END - 1] for i in ids if i > END)


def _silent(c: str) -> bool:
    """Whether a character is a control, a format mark, unassigned, or only chooses how the one before it looks."""
    return unicodedata.category(c)[0] == "C" or "\ufe00" <= c <= "\ufe0f"


def _shorten(piece: str, longest: int) -> list[str]:
    """A piece cut into parts of at most `longest` characters."""
    parts = []
    while len(piece) > longest:
        head = piece[: longest + 1]
        pauses = [match.end() - 1 for match in re.finditer(r"[,;:–—] ", head)]
        late = [end for end in pauses if end > longest // 3]
        cut = late[-1] if late else head.rfind(" ")
        cut = cut if cut > 0 else longest
        parts.append(piece[:cut].strip())
        piece = piece[cut:].strip()
    return [*parts, piece]


def _numbers(text: str, language: str) -> str:
    """The text with its numbers in words."""
    try:
        from num2words import num2words
    except ImportError:
        raise TextError(
            "numbers need num2words: pip install 'lin_jax[tts]', or write them in words"
        ) from None

    @functools.cache
    def say(number: str, **options) -> str:
        number = number.replace(group, "")
        if number.isdigit() and (
            len(number) > MAX_NUMBER or (number[0] == "0" and len(number) > 1)
        ):
            return " ".join(map(say, number))
        try:
            return num2words(decimal.Decimal(number), lang=language, **options)
        except NotImplementedError:
            raise TextError(
                f"num2words does not count in {language!r}: write the numbers in words"
            ) from None
        except OverflowError:
            raise TextError(
                f"{number[:20]}…: too large a number to read: write it in words"
            ) from None

    def cardinal(match: re.Match) -> str:
        whole, fraction = match["whole"], match["fraction"]
        is_year = language == "en" and not fraction and re.fullmatch("1[1-9]..|20[1-9].", whole)
        number = (
            f"{match['minus'] or ''}{whole}.{fraction}"
            if fraction
            else f"{match['minus'] or ''}{whole}"
        )
        return f" {say(number, to='year') if is_year else say(number)} "

    def amount(match: re.Match) -> str:
        try:
            words = say(
                f"{match['whole']}.{match['fraction'] or '00'}",
                to="currency",
                currency=CURRENCIES[match["sign"]],
                separator="|",
            )
        except TextError:  # a language without words for it
            return f" {match['whole']} {match['sign']} "
        whole, _, cents = words.partition("|")
        return f" {whole}{cents if int(match['fraction'] or 0) else ''} "

    group = "," if language == "en" else " "
    whole = rf"(?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)"
    cents, sign = r"(?:[.,](?P<fraction>\d{1,2})(?!\d))?", f"(?P<sign>[{''.join(CURRENCIES)}])"
    rules = [
        (rf"{sign}\s?{whole}{cents}", amount),
        (rf"(?<![\d.,]){whole}{cents}\s?{sign}", amount),
    ]
    if language == "en":
        rules.append(
            (
                rf"(?<!\w){whole}(?:st|nd|rd|th)\b",
                lambda match: f" {say(match['whole'], to='ordinal')} ",
            )
        )
    if language == "ru":
        ordinal = rf"(?<![\w.,]){whole}-(?P<ending>{'|'.join(_RUSSIAN_ORDINALS)})\b"
        endings = _RUSSIAN_ORDINALS
        rules.append(
            (
                ordinal,
                lambda match: f" {say(match['whole'], to='ordinal', **endings[match['ending']])} ",
            )
        )
    rules.append((r"(?<=\d):(?=\d)", lambda match: " "))
    rules.append((rf"(?P<minus>(?<![\w-])-)?{whole}(?:[.,](?P<fraction>\d+))?", cardinal))
    for pattern, words in rules:
        text = re.sub(pattern, words, text)
    return text
