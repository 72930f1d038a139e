"""The symbols that a synthesizer reads: any alphabet, as characters or as phonemes.

Shape letter: L symbols.
"""

import dataclasses
import re
import unicodedata
import warnings
from collections.abc import Iterable

import numpy as np

from lin_jax import espeak
from lin_jax.errors import TextError
from lin_jax.text import scripts
from lin_jax.text.normalisation import LETTER_A, PAUSES, normalise

PAD, END = 0, 1  # numbers of no symbol and of the end of a text; the symbols themselves follow
_WORD = r"[^\W_]+(?:['-][^\W_]+)*"
FORMS = ("characters", "phonemes")
NEAREST = {"ɬ": "l", "ç": "ʃ", "ɣ": "ɡ", "χ": "x", "ʁ": "ɹ", "ø": "ɜ", "œ": "ɜ", "ɲ": "n", "ʎ": "l"}


@dataclasses.dataclass(frozen=True)
class SymbolTable:
    """The symbols a synthesizer was trained on, kept with it.

    Attributes:
        symbols: each one character, or one character of the IPA; symbol i has the number i + 2.
        language: in which numbers are read and phonemes made, as espeak-ng names it: "en-us", "ru".
        form: "characters" or "phonemes".
        others: languages besides, each of which reads the words in its own script.
    """

    symbols: tuple[str, ...]
    language: str = "en-us"
    form: str = "characters"
    others: tuple[str, ...] = ()

    def __post_init__(self):
        if self.form not in FORMS:
            raise TextError(f"unknown form {self.form!r} of symbols: choose {' or '.join(FORMS)}")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        language: str = "en-us",
        form: str = "characters",
        others: tuple[str, ...] = (),
    ) -> "SymbolTable":
        """The table of all symbols that occur in some texts."""
        empty = cls((), language, form, others)
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
        tuples = {name: tuple(values.get(name, ())) for name in ("symbols", "others")}
        return cls(**values | tuples)

    @property
    def languages(self) -> tuple[str, ...]:
        """All that are read, the language of what belongs to none of the others first."""
        return self.language, *self.others

    def normalise(self, text: str) -> str:
        """A text as it is read: figures, abbreviations and signs as words of its languages."""
        stretches = scripts.by_language(scripts.without_lookalikes(text), self.languages)
        return " ".join(normalise(part, language) for language, part in stretches)

    def spell(self, text: str) -> str:
        """A text in the form of this table, normalised; its symbols need not be in it."""
        text = self.normalise(text)
        if self.form == "characters":
            return text
        text = "".join(" " if _is_named_by_espeak(c) else c for c in text).strip()
        pieces = []
        for language, part in scripts.by_language(text.replace(" - ", ", "), self.languages):
            for piece in re.split(rf"([{PAUSES}])", part):
                pieces.append(piece if piece in PAUSES else espeak.phonemes(piece, language))
            pieces.append(" " * part[-1:].isspace())
        return re.sub(rf"([{PAUSES}])(?=\S)", r"\1 ", "".join(pieces))

    def words(self, text: str) -> list[tuple[str, ...]]:
        """The words of a text as it is read, by letters; together those that are one in symbols.

        espeak-ng joins some, such as "in the". What cannot be read is left out.
        """
        text = self.normalise(self._readable(text)[0])
        if self.form == "characters":
            return [(word,) for word in re.findall(_WORD, text)]
        groups: list[tuple[str, ...]] = []
        for language, part in scripts.by_language(text, self.languages):
            for phrase in re.split(rf"[{PAUSES}]| - ", part):
                words = re.findall(_WORD, phrase)
                # What is joined depends on the words that follow.
                rests = (" ".join(words[i:]) for i in range(len(words) + 1))
                left = [len(espeak.phonemes(rest, language).split()) for rest in rests]
                start = 0
                for end in range(1, len(words) + 1):
                    if left[start] > left[end]:
                        letter = (re.sub(rf"^{LETTER_A}\b", "a", word) for word in words[start:end])
                        groups.append(tuple(letter))
                        start = end
        return groups

    def _readable(self, text: str) -> tuple[str, dict[str, str]]:
        """A text without the words in other scripts, and the first of these in each script."""
        if self.form == "characters":
            return text, {}
        # espeak-ng would read letters of other scripts by their names.
        return scripts.partition(scripts.without_lookalikes(text), *self.languages)

    def encode(self, text: str) -> np.ndarray:
        """Numbers of the symbols of a text.

        A symbol that the table lacks is read without its accents; where that does not help it is
        skipped, and named in a warning, as are words in a script that the language is not written
        in.

        Args:
            text: what to say.

        Returns:
            int32 [L], the last one `END`.

        Raises:
            TextError: nothing in the text can be spoken, or something to read it with is not
                installed.
        """
        number = {symbol: i for i, symbol in enumerate(self.symbols, END + 1)}
        readable, unreadable = self._readable(text)
        problems = [f"{scripts.name(kind)} letters ({word})" for kind, word in unreadable.items()]
        ids, unknown, spoken = [], [], False
        for symbol in self.spell(readable):
            plain = (
                [symbol] if symbol in number else [c for c in self._nearest(symbol) if c in number]
            )
            if not plain and symbol not in unknown and not symbol.isspace():
                unknown.append(symbol)
            ids += [number[c] for c in plain]
            spoken |= any(map(str.isalnum, plain))
        if self.form == "phonemes":
            signs = filter(_is_named_by_espeak, self.normalise(readable))
            unknown += dict.fromkeys(c for c in signs if unicodedata.category(c)[0] == "S")
        if unknown:
            names = [f"{c} ({unicodedata.name(c, f'U+{ord(c):04X}').lower()})" for c in unknown]
            problems.append(", ".join(names[:8]) + f" and {len(names) - 8} more" * (len(names) > 8))
        problem = ", ".join(problems)
        if unreadable and not spoken:
            language = scripts.LANGUAGES[next(iter(unreadable))]
            raise TextError(
                f"nothing to say: a voice of {' and '.join(self.languages)} cannot read {problem}; "
                "use a synthesizer trained on such texts: --model, or experiments.synthesis "
                f"--config.language={language}"
            )
        if problem and not spoken:
            raise TextError(f"nothing to say: this voice cannot read {problem}")
        if not spoken:
            raise TextError("nothing to say: give a text with words in it")
        if problem:
            warnings.warn(f"skipped what this voice cannot read: {problem}", stacklevel=2)
        return np.array([*ids, END], np.int32)

    def _nearest(self, symbol: str) -> str:
        """What is read in place of a symbol that the table lacks: the nearest ones, or nothing."""
        if self.form == "phonemes" and symbol in PAUSES:
            return ","
        return NEAREST.get(symbol) or unicodedata.normalize("NFKD", symbol)

    def encode_symbols(self, symbols: str) -> np.ndarray:
        """Numbers of symbols as they stand, those that the table lacks left out: int32 [L]."""
        number = {symbol: i for i, symbol in enumerate(self.symbols, END + 1)}
        return np.array([number[symbol] for symbol in symbols if symbol in number], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """The symbols of some numbers, padding and end left out."""
        return "".join(self.symbols[i - END - 1] for i in ids if i > END)


def _is_named_by_espeak(c: str) -> bool:
    """Whether espeak-ng would say the name of a sign, such as an emoji, a bullet or an accent."""
    if c in f"'-{PAUSES}":
        return False
    return unicodedata.category(c)[0] in "PS" or "\u0300" <= c <= "\u036f"
