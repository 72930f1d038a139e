"""A text in sentences, each with the pause after it."""

import dataclasses
import math
import re

from lin_jax.errors import TextError

SENTENCE_PAUSE, PHRASE_PAUSE, PARAGRAPH_PAUSE = 0.3, 0.1, 0.7  # seconds
MAX_PAUSE = 60.0
MAX_WORD = 48  # letters of a word that is never cut
PAUSE = r"(?<=[,;:–—]) "  # where a sentence that is too long is cut first, and then
PHRASE = r"(?i) (?=(?:and|or|but|nor|that|which|who|when|where|while|because|if|as|than|of|in|to\
|for|with|from|by|at|on|into|about|after|before)\b)"
# Before these, readers of LibriSpeech pause in one case of five or more, commas or not.
PHRASE_START = (
    r"(?i)although|and|as|because|but|for|if|nor|or|since|than|then|though|unless|until|when\
|where|which|while|who|whom|whose|with"
)
PHRASE_LENGTH, PHRASE_REST = 7, 3  # words before such a pause, and after it, at least
# Thrice or more the same word is said with pauses; without, eight "the" would take half a second.
_REPEATED = r"(?i)\b([^\W\d_]{2,})(?:\s+\1\b){2,}"
_PAUSE_MARK = r"\[\s*pause\b[^\]]*\]"
_TITLES = "mr mrs ms dr prof st jr sr gen col capt lt sgt rev hon pres gov sen rep mt ft mme mlle"
_MONTHS = "jan feb mar apr jun jul aug sep sept oct nov dec"
_WITHIN = "vs e.g i.e viz al т.е т.к т.н ул им см др"  # a sentence goes on after them
_EITHER = "inc ltd co corp ave rd blvd etc dept est a.m p.m т.д т.п пр руб коп тыс млн млрд"
_WEEKDAYS = "mon tue tues wed thu thur thurs fri"
_BEFORE_NUMBERS = "no nos fig figs vol vols p pp ch sec eq art op"
_BEFORE_WORDS = "cf ca approx"
# Words with which an English sentence often begins, and seldom a name.
_OPENERS = """a all also an and another any are as at because but by did do does for from he her
here his how however i if in is it its let many most my no not now of on one our she so some that
the their then there these they this those to was we what when where which while who why with yes
you your"""
INNER = frozenset(f"{_TITLES} {_MONTHS} {_WITHIN} {_BEFORE_WORDS}".split())
EITHER, BEFORE_NUMBERS, OPENERS = (
    frozenset(words.split()) for words in (f"{_EITHER} {_WEEKDAYS}", _BEFORE_NUMBERS, _OPENERS)
)


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence, or a part of one, and how long to pause after it.

    Attributes:
        text: not blank.
        pause: seconds of silence that follow, at natural speed.
    """

    text: str
    pause: float


def sentences(text: str, max_length: int = 200) -> list[Sentence]:
    """Cut a text into sentences, and those that are too long at a pause, else between words.

    A dot ends no sentence within a number, an address or after an abbreviation that the next word
    belongs to. `[pause 1.5]` is a pause of so many seconds; a blank line is a longer pause.

    Args:
        text: of any length.
        max_length: characters in a piece.

    Returns:
        The sentences in order, at least one.

    Raises:
        TextError: there is nothing to say, the text is SSML, or a pause has an impossible length.
    """
    if tag := re.search(r"</?(?:speak|break|prosody|emphasis|say-as|phoneme|voice)\b[^>]*>", text):
        raise TextError(
            f"{tag[0]}: SSML is not read; give plain text, with [pause 1.5] for a pause"
        )
    pieces: list[Sentence] = []
    for part in re.split(rf"({_PAUSE_MARK}|\n\s*\n)", text):
        if re.fullmatch(_PAUSE_MARK, part):
            _lengthen(pieces, _seconds(part))
        elif part and not part.strip():
            _lengthen(pieces, PARAGRAPH_PAUSE)
        else:
            pieces += _cut(part, max_length)
    if not pieces:
        raise TextError("nothing to say: give a text with words in it")
    return pieces


def _cut(text: str, max_length: int) -> list[Sentence]:
    """The sentences of a paragraph."""
    text = re.sub(_REPEATED, lambda match: ", ".join(match[0].split()), text)
    pieces, start = [], 0
    for end in re.finditer(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|(?<=[。！？])|\r", text):
        if not _continues(text[start : end.end()], text[end.end() :]):
            pieces.append(text[start : end.end()])
            start = end.end()
    pieces.append(text[start:])
    cut = []
    for piece in pieces:
        *parts, last = _shorten(" ".join(piece.split()), max_length)
        ends = re.search(r"[.!?…。！？]\W*$", last)
        cut += [Sentence(_phrased(part), PHRASE_PAUSE) for part in parts]
        cut.append(Sentence(_phrased(last), SENTENCE_PAUSE if ends else PHRASE_PAUSE))
    return [piece for piece in cut if any(map(str.isalnum, piece.text))]


def _continues(before: str, after: str) -> bool:
    """Whether the dot at the end of `before` is an abbreviation's, and its sentence goes on."""
    word = re.search(r"(\S*?)\.[\"'”’»)\]]*$", before)
    if not word or not after.strip():
        return False
    short, following = (part.lstrip("\"'“‘«([") for part in (word[1], after.split(maxsplit=1)[0]))
    short = short.lower()
    if re.fullmatch(r"\d+", short) and before.strip() == word[0].strip():
        return True  # the number of an item in a list
    if short in BEFORE_NUMBERS:
        return bool(re.match(r"\d|(?:[IVX]{2,}|[VX])\b", following))
    if short == "st":  # a street, or a saint
        return not following[:1].isupper() or following.lower() not in OPENERS
    if short in INNER:
        return True
    if re.fullmatch(r"[^\W\d_]", short):  # an initial, or the last word "I"
        return short != "i" or following[:1].islower()
    if short in EITHER or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", short):
        return not following[:1].isupper() or (
            short not in EITHER and following.lower() not in OPENERS
        )
    return False


def _shorten(piece: str, max_length: int) -> list[str]:
    """A piece cut into even parts of at most `max_length` characters.

    It is cut at a pause, else before a word that a phrase begins with, else between words; within
    a word only if that is longer than `max_length` and `MAX_WORD`.
    """
    parts = []
    while len(piece) > max_length:
        even = len(piece) / math.ceil(len(piece) / max_length)
        for place, least in ((PAUSE, even / 2), (PHRASE, even * 3 / 4), (" ", even / 2), (" ", 0)):
            cuts = [match.start() for match in re.finditer(place, piece[: max_length + 1])]
            if cuts := [cut for cut in cuts if cut > least]:
                cut = min(cuts, key=lambda cut: abs(cut - even))
                break
        else:
            word = piece.partition(" ")[0]
            cut = len(word) if len(word) <= MAX_WORD else math.ceil(even)
        parts.append(piece[:cut].strip())
        piece = piece[cut:].strip()
    return [*parts, piece]


def _phrased(piece: str) -> str:
    """A piece with commas where a reader pauses in a long stretch without a mark."""
    stretches = []
    for stretch in re.split(rf"{PAUSE}|(?<=[.!?…]) ", piece):
        words, start = stretch.split(" "), 0
        for place, word in enumerate(words):
            if (
                re.fullmatch(PHRASE_START, word)
                and place - start >= PHRASE_LENGTH
                and len(words) - place >= PHRASE_REST
                and words[place - 1][-1].isalnum()
            ):
                words[place - 1] += ","
                start = place
        stretches.append(" ".join(words))
    return " ".join(stretches)


def _lengthen(pieces: list[Sentence], pause: float):
    """Let the last sentence, if any, be followed by a pause of at least so many seconds."""
    if pieces:
        last = pieces[-1]
        pieces[-1] = dataclasses.replace(last, pause=max(last.pause, pause))


def _seconds(mark: str) -> float:
    """The length of `[pause 1.5]`."""
    match = re.fullmatch(r"\[\s*pause\s+(\d+(?:\.\d+)?)\s*s?\s*\]", mark)
    if not match or float(match[1]) > MAX_PAUSE:
        raise TextError(f"{mark}: a pause has 0 to {MAX_PAUSE:g} seconds, as in [pause 1.5]")
    return float(match[1])
