"""A text as it is read aloud: numbers, amounts, times, addresses and abbreviations in words."""

import calendar
import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from lin_jax.errors import TextError
from lin_jax.text import numbers

PAUSES = ".,;:!?"
_PUNCTUATION = str.maketrans(
    dict.fromkeys("“”„«»‹›", '"')
    | dict.fromkeys("‘’ʼ`´", "'")
    | dict.fromkeys("‐‑‒−", "-")
    | dict.fromkeys("—―", " - ")
    | {"–": "--", "…": ". "}
    | dict.fromkeys("™®℠")  # NFKC would write "tm" at the end of a word
)
_TAG = r"(?i)</?(?:[abipqsu]|br|code|div|em|h[1-6]|hr|img|li|ol|pre|small|span|strong|ul)\b[^<>]*>"
_EMOTICON = r"(?<!\w)(?:[:;]['^]?-?[()\[\]DPp|/\\*]+|=[()D]|<3+|\^_?\^)(?!\w)"
_LATIN_FOLDS = str.maketrans(
    {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ħ": "h", "ı": "i", "ŋ": "ng"}
)
_QUOTES = str.maketrans(dict.fromkeys('"()[]{}*_#|<>~^\\', " "))

ABBREVIATIONS = {
    "en": {
        "Mr.": "mister",
        "Mrs.": "missis",
        "Ms.": "miss",
        "Dr.": "doctor",
        "Prof.": "professor",
        "Ph.D.": "p h d",
        "Jr.": "junior",
        "Sr.": "senior",
        "Gen.": "general",
        "Col.": "colonel",
        "Capt.": "captain",
        "Lt.": "lieutenant",
        "Sgt.": "sergeant",
        "Rev.": "reverend",
        "Hon.": "honourable",
        "Gov.": "governor",
        "Sen.": "senator",
        "Mt.": "mount",
        "vs.": "versus",
        "etc.": "et cetera",
        "e.g.": "for example",
        "i.e.": "that is",
        "cf.": "compare",
        "approx.": "approximately",
        "Inc.": "incorporated",
        "Ltd.": "limited",
        "Corp.": "corporation",
        "Co.": "company",
        "Dept.": "department",
        "Ave.": "avenue",
        "Rd.": "road",
        "Blvd.": "boulevard",
        "Jan.": "january",
        "Feb.": "february",
        "Apr.": "april",
        "Aug.": "august",
        "Sept.": "september",
        "Oct.": "october",
        "Nov.": "november",
        "Dec.": "december",
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
BEFORE_NUMBERS = {
    "No.": "number",
    "Nos.": "numbers",
    "Fig.": "figure",
    "Figs.": "figures",
    "Vol.": "volume",
    "Ch.": "chapter",
    "Sec.": "section",
    "Eq.": "equation",
    "Art.": "article",
    "p.": "page",
    "pp.": "pages",
}
WEEKDAYS = {"Mon": "monday", "Tue": "tuesday", "Wed": "wednesday", "Thu": "thursday"} | {
    "Tues": "tuesday",
    "Thur": "thursday",
    "Thurs": "thursday",
    "Fri": "friday",
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
        "×": "times",
        "÷": "divided by",
        "±": "plus or minus",
        "§": "section",
        "©": "copyright",
        "¢": "cents",
        "≈": "approximately",
        "≠": "is not equal to",
        "≤": "is at most",
        "≥": "is at least",
        "√": "square root of",
        "∞": "infinity",
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
CURRENCY_WORDS = {"$": "dollars", "€": "euros", "£": "pounds", "₽": "roubles", "¥": "yen"}
DOLLARS = {
    "US": "u s",
    "A": "australian",
    "AU": "australian",
    "C": "canadian",
    "CA": "canadian",
    "NZ": "new zealand",
    "HK": "hong kong",
}
MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"} | {
    word: word for word in ("hundred", "thousand", "million", "billion", "trillion")
}
UNITS = {
    "km": "kilometre",
    "cm": "centimetre",
    "mm": "millimetre",
    "m": "metre",
    "kg": "kilogram",
    "mg": "milligram",
    "g": "gram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "ft": "foot",
    "ml": "millilitre",
    "l": "litre",
    "h": "hour",
    "hrs": "hour",
    "min": "minute",
    "s": "second",
    "ms": "millisecond",
    "GB": "gigabyte",
    "MB": "megabyte",
    "KB": "kilobyte",
    "TB": "terabyte",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "kW": "kilowatt",
    "W": "watt",
    "V": "volt",
    "mph": "mile per hour",
    "km/h": "kilometre per hour",
    "m/s": "metre per second",
    "°C": "degree Celsius",
    "°F": "degree Fahrenheit",
    "px": "pixel",
}
_PLURALS = {"foot": "feet", "hertz": "hertz", "kilohertz": "kilohertz"} | {
    "megahertz": "megahertz",
    "gigahertz": "gigahertz",
    "mile per hour": "miles per hour",
    "kilometre per hour": "kilometres per hour",
    "metre per second": "metres per second",
    "degree Celsius": "degrees Celsius",
    "degree Fahrenheit": "degrees Fahrenheit",
}
ADDRESS_SIGNS = {
    ".": "dot",
    "/": "slash",
    "@": "at",
    "-": "dash",
    "_": "underscore",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "+": "plus",
    "%": "percent",
    "~": "tilde",
}
FILE_ENDINGS = """md|html?|css|js|ts|py|txt|pdf|docx?|xlsx?|pptx?|csv|json|xml|ya?ml|png|jpe?g|gif|svg\
|mp[34]|wav|flac|ogg|zip|tar|gz|exe|cpp|sh|toml|ini"""
LETTER_A = "eigh"  # which espeak-ng reads as it calls the letter; "a" is the article
SPELT = "USA|UK|US|EU|UN|AI|API|CIA|FBI|IBM|URL|USB|CEO|UFO|DNA|GPU|CPU"  # despite their vowels
MONTHS = tuple(month.lower() for month in calendar.month_name[1:])
_TENS = ("", "X", "XX", "XXX", "XL")  # "XL" itself is a size
_ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
ROMAN = {tens + ones: 10 * i + j for i, tens in enumerate(_TENS) for j, ones in enumerate(_ONES)}
ROMAN = {figure: number for figure, number in ROMAN.items() if figure not in ("", "XL", "XXX")}
COUNTED = "Chapter|Part|Book|Act|Scene|Volume|Vol\\.|War|Section|Figure|Phase|Type|Level"
REGNAL = """Alexander|Benedict|Catherine|Charles|Edward|Elizabeth|Ferdinand|Francis|Frederick|George
|Gustav|Henry|Ivan|James|John|Leo|Louis|Mary|Napoleon|Nicholas|Paul|Peter|Philip|Pius|Pope|Richard
|Wilhelm|William""".replace("\n", "")
# As espeak-ng reads them right: it would spell these, or call "xi" a figure.
RESPELT = {
    r"\bh+m+\b|\bm{3,}\b": "hmm",
    r"\bsh{2,}\b": "shush",
    r"\bbr{2,}\b": "burr",
    r"\bgr{2,}\b": "gur",
    r"([aehmnorsuy])\1{2,}": r"\1\1",  # sooo
}
_RUSSIAN_ORDINALS: dict[str, dict[str, Any]] = {
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
Rules = Iterable[tuple[str, str | Callable[[re.Match], str]]]


def normalise(text: str, language: str = "en") -> str:
    """Write a text as it is spoken: lower case, with numbers and abbreviations in words.

    Args:
        text: in any alphabet.
        language: of its numbers and abbreviations, such as "en", "en-us" or "ru".

    Returns:
        The text with single spaces; what is neither known nor punctuation stands as it was.

    Raises:
        TextError: there are numbers in it, and num2words is not installed or does not count in that
            language.
    """
    region, language = language, language.partition("-")[0]
    ends = re.search(r"[.!?]\W*$", text)
    text = re.sub(_EMOTICON, " ", re.sub(_TAG, " ", text))
    text = re.sub(r"&#?\w+;", lambda match: html.unescape(match[0]), text)
    text = text.replace("№", f" {SIGNS.get(language, {}).get('№', 'no')} ")
    text = re.sub(r"(?<=\d)(?=[¼½¾⅓⅔⅛⅜⅝⅞])", " ", text.translate(_PUNCTUATION))
    if language == "en":
        text = _apply(_english_powers(), text)
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or not _is_invisible(c))
    if language == "en":
        text = _apply([*_english_addresses(), *_english_dates()], _folded(text))
    for short, words in ABBREVIATIONS.get(language, {}).items():
        pattern = re.escape(short).replace(r"\.", r"\.\s?").removesuffix(r"\s?")
        text = re.sub(rf"(?<!\w){pattern}", words, text, flags=re.IGNORECASE)
    if language == "en":
        text = _apply(_english_words(), text)
    if re.search(r"\d", text):
        rules = {"en": _english_numbers(region), "ru": _russian_numbers()}
        text = _apply(rules.get(language, ()), text)
        text = _apply(_plain_numbers(language), text)
    for sign, word in SIGNS.get(language, {}).items():
        text = text.replace(sign, f" {word} ")
    text = text.lower().translate(_QUOTES)
    if language == "en":
        text = _apply(RESPELT.items(), text)
    text = text.replace("/", " ").replace("--", " - ")
    text = re.sub(r"(?<!\w)-+|-+(?!\w)", " - ", text)  # a dash; within a word it is a hyphen
    text = re.sub(rf"\s+(?=[{PAUSES}])", "", text)
    text = re.sub(rf"([{PAUSES}])[{PAUSES}]*", r"\1", text)
    text = " ".join(text.split())
    # The dot of an abbreviation, which is a word now, ended the sentence, too.
    return f"{text}." if ends and text[-1:].isalnum() else text


def _apply(rules: Rules, text: str) -> str:
    for pattern, replace in rules:
        text = re.sub(pattern, replace, text)
    return text


def _folded(text: str) -> str:
    """Latin letters beyond those of Western Europe without their marks; espeak-ng spells them."""

    def plain(c: str) -> str:
        if c < "\u0100" or not unicodedata.name(c, "").startswith("LATIN"):
            return c
        return unicodedata.normalize("NFKD", c)[0]

    return "".join(map(plain, text.translate(_LATIN_FOLDS)))


def _is_invisible(c: str) -> bool:
    """Whether a character is a control, a format mark, unassigned or a variation selector."""
    return unicodedata.category(c)[0] == "C" or "\ufe00" <= c <= "\ufe0f"


def _spell(letters: str) -> str:
    """Letters one by one, such as "u s" of "US"; an "a" as no article is read."""
    return " ".join(LETTER_A if letter in "aA" else letter for letter in letters)


def _english_powers() -> Rules:
    """Raised figures, which NFKC would set on the line."""
    lengths = "|".join(unit for unit, name in UNITS.items() if name.endswith(("metre", "foot")))
    digits = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    names = {"2": "squared", "3": "cubed"}

    def power(match: re.Match) -> str:
        exponent = match[1].translate(digits)
        return f" {names.get(exponent) or f'to the power of {exponent}'} "

    def area(match: re.Match) -> str:
        name = UNITS[match[2]]
        kind = "square" if match[3] == "²" else "cubic"
        return f"{match[1]} {kind} {name if match[1] == '1' else _PLURALS.get(name, f'{name}s')}"

    return [
        (rf"(?<![\w.,])([\d.,]*\d)\s?({lengths})([²³])", area),
        (r"(?<=\w)([⁻²³⁴-⁹][⁰¹²³⁴-⁹]*|[¹⁰][⁰¹²³⁴-⁹]+)", power),
        (r"(?<=[\w)])\s?\^\s?(-?\d+)", power),
    ]


def _english_addresses() -> Rules:
    """Addresses of the web and of mail, with their dots and slashes in words."""

    def address(match: re.Match) -> str:
        words = match["host"] + match["path"]
        tail = words[len(words.rstrip(PAUSES)) :]
        words = words.removesuffix(tail).removesuffix("/")
        words = re.sub(r"^www(?=\.)", _spell("www"), words, flags=re.IGNORECASE)
        words = re.sub(r":\d+", lambda port: " ".join(port[0]), words)
        for sign, word in ADDRESS_SIGNS.items():
            words = words.replace(sign, f" {word} ")
        return f" {words} {tail} "

    ending = r"(?:com|org|net|edu|gov|io|ai|uk|de|ru|fr|eu|info|dev|app|co|tv|me)\b"
    path = r"(?P<path>(?::\d+)?(?:[/?#][^\s,;]*)?)"
    return [
        (r"(?i)\bmailto:(?=\S+@)", lambda match: ""),
        (rf"(?i)\b(?:https?|ftp)://(?P<host>[\w.-]+){path}", address),
        (rf"(?i)\b(?P<host>www\.[\w.-]+\w){path}", address),
        (r"(?i)\b(?P<host>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)(?P<path>)", address),
        (rf"(?i)(?<![\w.@])(?P<host>[a-z][\w-]*(?:\.[\w-]+)*\.{ending}){path}(?!\.\w)", address),
        (rf"(?<=\w)\.(?=(?:{FILE_ENDINGS})\b(?!\.\w))", lambda match: " dot "),
    ]


def _english_dates() -> Rules:
    """Days of a month by their places, and short names of months and weekdays."""
    full = {name[:3]: name for name in calendar.month_name[1:]} | {"Sept": "September"}
    names = rf"(?P<month>{'|'.join([*calendar.month_name[1:], 'Sept', *full])})\b\.?"
    month = lambda match: full.get(match["month"], match["month"])  # noqa: E731

    def month_first(match: re.Match) -> str:
        until = f" to {match['until']}th" if match["until"] else ""
        return f"{month(match)} {match['day']}th{until}"

    day = r"(?P<day>[12]\d|3[01]|0?[1-9])"
    until = r"(?:\s?-{1,2}\s?(?P<until>[12]\d|3[01]|[1-9]))?"
    return [
        (rf"\b{names}\s{day}{until}(?![\w%]|[.,:/-]\w)", month_first),
        (
            rf"(?<![\w.,:/$€£-])(?:[Tt]he\s)?{day}\s{names}(?!\w)",
            lambda match: f"the {match['day']}th of {month(match)}",
        ),
        (rf"\b{names}(?=\s\d{{4}}\b)", month),
        (
            rf"\b({'|'.join(WEEKDAYS)})\.(?=\s*(?:$|[,;)]|\d|[a-z]))",
            lambda match: WEEKDAYS[match[1]],
        ),
    ]


def _english_words() -> Rules:
    """Abbreviations that depend on their neighbours, and words that are read by letters."""

    def acronym(match: re.Match) -> str:
        shouted = match.string.isupper() and len(match.string.split()) > 1
        return match[0] if shouted else _spell(match[1]) + ("'s" if match[2] else "")

    def model(match: re.Match) -> str:
        digits = match[2]
        if len(match[1]) > 1 and len(digits) > 2:
            digits = " ".join(digits)
        return f"{_spell(match[1])} {digits}"

    def models(match: re.Match) -> str:
        return f"{_spell(match[1])} {numbers.cardinal(match[2], 'en')}s"

    def roman(match: re.Match) -> str:
        number, name = ROMAN[match["figure"].upper()], match["name"]
        if name and re.fullmatch(REGNAL, name):
            return f"{name} the {number}th"
        return f"{name} {number}" if name else str(number)

    def compared(match: re.Match) -> str:
        return f"{match[1]} is {'less' if match[2] == '<' else 'greater'} than "

    before = "|".join(map(re.escape, BEFORE_NUMBERS))
    full = {short.lower(): word for short, word in BEFORE_NUMBERS.items()}
    figures = sorted(ROMAN, key=len, reverse=True)
    figure = "|".join(each for each in figures if len(each) > 1)
    single = "[IVX](?=\\s*(?:$|[^\\w\\s']|[A-Z\\d]|and\\b|of\\b|was\\b|is\\b))"
    return [
        (r"\b[Aa](?=(?:,? [B-HJ-Zb-hj-z]\b){2})", _spell("A")),
        (r"(?<![\w.])A(?=[,;:!?)]|\.(?!\w)|$| (?:and|or) [B-Z]\b)", _spell("A")),
        (r"\bWWI(I?)\b", lambda match: f"World War {'two' if match[1] else 'one'}"),
        (r"\bXi\b", lambda match: "Shee"),
        (r"\bVi\b", lambda match: "Vie"),
        (rf"\b(?P<name>{COUNTED})\s+(?P<figure>{figure}|{single})", roman),
        (rf"\b(?P<name>[A-Z][a-z]+)\s+(?P<figure>{figure})\b", roman),
        (rf"(?P<name>)\b(?P<figure>{figure}|{figure.lower()})\b", roman),
        (rf"(?i)(?<!\w)({before})\s?(?=\d)", lambda match: f"{full[match[1].lower()]} "),
        (r"(?<!\w)St\.(?=\s+[A-Z][a-z])", _saint),
        (r"(?i)(?<!\w)st\.(?=\W|$)", lambda match: "street"),
        (
            r"\b([AaPp])\.\s?([Mm])\b\.?|(?<=\d)\s?([AaPp])([Mm])\b",
            lambda match: f" {_spell(''.join(filter(None, match.groups())))} ",
        ),
        (r"\b(?:[A-Za-z]\.){2,}", lambda match: _spell(match[0].replace(".", ""))),
        (rf"\b([BCDFGHJKLMNPQRSTVWXZ]{{2,6}}|{SPELT})('?s)?\b", acronym),
        (r"\bIPv(?=\d)", lambda match: f"{_spell('IPv')} "),
        (r"\b([A-Z]{1,4})(\d\d?)s\b", models),
        (r"\b([A-Z]{1,3})(\d+)(?![\d,.]*\d|\w)", model),
        (r"\bv\.?(?=\d)", lambda match: "version "),
        (r"#(?=\d)", lambda match: " number "),
        (r"#(?=[^\W\d_])", lambda match: " hashtag "),
        (r"~\s?(?=[\d$€£])", lambda match: " about "),
        (r"(?<![\w<])([\d.,]*\d|[A-Za-z])\s?([<>])\s?(?=-?\d|[A-Za-z]\b)", compared),
        (r"(?<![\w/])km/h\b", lambda match: "kilometres per hour"),
    ]


def _saint(match: re.Match) -> str:
    """A street after a house number and names, else a saint before a name."""
    before = match.string[: match.start()]
    return "street" if re.search(r"\d+\s+(?:[A-Z]\w+\s+)+$", before) else "saint"


def _english_numbers(region: str) -> Rules:
    """Dates, times, telephone numbers, amounts, fractions, decades, ranges and units of English."""
    cardinal = lambda number: numbers.cardinal(number.replace(",", ""), "en")  # noqa: E731
    ordinal = lambda number: numbers.ordinal(number.replace(",", ""), "en")  # noqa: E731

    def date(year: str, month: str, day: str, match: re.Match) -> str:
        if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
            return match[0]
        return f" {MONTHS[int(month) - 1]} {ordinal(str(int(day)))}, {_year(year)} "

    def slashed(match: re.Match) -> str:
        first, second, year = match.groups()
        month, day = (second, first) if region == "en-gb" else (first, second)
        return date(year, month, day, match)

    def time(match: re.Match) -> str:
        hour, minute, second = int(match["hour"]), match["minute"], match["second"]
        if hour > 24 or int(minute) > 59:
            return match[0]
        words = cardinal(str(hour))
        if minute == "00" and not second:
            half = re.match(r"\s*(?:[ap]|eigh)\.?\s?m\b", match.string[match.end() :], re.I)
            words += "" if half else " o'clock" if 1 <= hour <= 12 else " hundred"
        else:
            words += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
        if second:
            words += f" and {cardinal(str(int(second)))} seconds"
        return f" {words} "

    def telephone(match: re.Match) -> str:
        groups = re.findall(r"\d+", match[0])
        plus = "plus " if match[0].startswith("+") else ""
        return f" {plus}{', '.join(' '.join(map(cardinal, group)) for group in groups)} "

    def amount(match: re.Match) -> str:
        sign, number, size = match["sign"], match["number"].replace(",", ""), match["size"]
        if size or sign not in CURRENCIES or len(number.partition(".")[2]) not in (0, 2):
            size = f" {MAGNITUDES[size.strip().lower()]}" if size else ""
            return f" {cardinal(number)}{size} {CURRENCY_WORDS[sign]} "
        whole, _, cents = number.partition(".")
        if sign == "$" and int(whole) == 0 and int(cents or 0):
            return f" {cardinal(str(int(cents)))} cent{'s' * (int(cents) != 1)} "
        return f" {numbers.money(whole, cents, CURRENCIES[sign], 'en')} "

    def foreign_dollars(match: re.Match) -> str:
        size = f" {MAGNITUDES[match['size'].strip().lower()]}" if match["size"] else ""
        return f" {cardinal(match['number'])}{size} {DOLLARS[match['country']]} dollars "

    def each(match: re.Match) -> str:
        per = " a " if match["per"] else " "
        return f" {cardinal(match['number'])} {CURRENCY_WORDS[match['sign']][:-1]}{per}"

    def fraction(match: re.Match) -> str:
        whole, top, bottom = match["whole"], int(match["top"]), int(match["bottom"])
        if not 2 <= bottom <= 100 or not 1 <= top < bottom:
            return f" {match['whole'] or ''} {cardinal(match['top'])} {cardinal(match['bottom'])} "
        name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(str(bottom))
        if top > 1:
            name = "halves" if bottom == 2 else f"{name}s"
        if whole:
            return f" {cardinal(whole)} and {'a' if top == 1 else cardinal(str(top))} {name} "
        return f" {cardinal(str(top))} {name} "

    def decade(match: re.Match) -> str:
        century, tens = match["century"] or "", match["tens"]
        if tens == "00":
            return f" {cardinal(century)} hundreds "
        words = cardinal(tens)
        plural = f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"
        return f" {cardinal(century) if century else ''} {plural} "

    def version(match: re.Match) -> str:
        return f" {' point '.join(map(cardinal, match[0].split('.')))} "

    def unit(match: re.Match) -> str:
        number, name = match["number"], UNITS[match["unit"]]
        name = name if number == "1" else _PLURALS.get(name, f"{name}s")
        return f" {number} {name} "

    def range_(match: re.Match) -> str:
        return f"{match[1]} to {match[2]}"

    def digits(match: re.Match) -> str:
        return f" {' '.join(map(cardinal, re.sub('[^0-9]', '', match[0])))} "

    def internet_address(match: re.Match) -> str:
        return f" {' dot '.join(map(cardinal, match[0].split('.')))} "

    number = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
    size = r"(?P<size>\s?(?:hundred|thousand|million|billion|trillion)\b|(?:[kK]|[mM]n?|[bB]n?)\b)?"
    units = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
    return [
        (r"(?<![\w/])9/11(?![\w/])", lambda match: "nine eleven"),
        (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)", internet_address),
        (
            r"(?i)\b(in|since|until|before|after|year) (10[1-9]\d)(?!\w|[,.]\d)",
            lambda match: f"{match[1]} {_year(match[2])}",
        ),
        (r"\b(\d{4})-(\d\d)-(\d\d)\b", lambda m: date(m[1], m[2], m[3], m)),
        (r"\b(\d\d?)/(\d\d?)/(\d{4})\b", slashed),
        (r"(?<![\d:])(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?![\d:])", time),
        (r"(?<!\d)(?:\+?\d{1,3}[ -])?(?:\(\d{3}\)\s?|\d{3}[ -])?\d{3}-\d{4}(?!\d|-)", telephone),
        (r"\+\d{1,3}(?:[ -]\(?\d{2,4}\)?){2,5}", telephone),
        (r"(?<!\d)\d{4}(?:[ -]\d{4}){2,3}(?!\d)", telephone),
        (r"(?i)(?<=\bdial )(?:911|999|112)\b|(?<=\bcall )(?:911|999|112)\b", digits),
        (r"(?<![\w-])-(?=[$€£₽¥]\s?\d)", lambda match: "minus "),
        (rf"\b(?P<country>{'|'.join(DOLLARS)})\$\s?(?P<number>{number}){size}", foreign_dollars),
        (rf"(?P<sign>[$€£])(?P<number>{number})-(?:(?P<per>an?|per)-)?(?=[a-z])", each),
        (rf"(?P<sign>[$€£₽¥])\s?(?P<number>{number}){size}", amount),
        (rf"(?<![\d.,])(?P<number>{number})(?P<size>)\s?(?P<sign>[$€£₽¥])", amount),
        (r"(?<![\w./])(?:(?P<whole>\d+)\s+)?(?P<top>\d+)[/⁄](?P<bottom>\d+)(?![\w/⁄])", fraction),
        (r"(?<!\w)(?P<century>1\d|20)(?P<tens>\d0)'?s\b", decade),
        (r"(?<!\w)'?(?P<century>)(?P<tens>[2-9]0)'?s\b", decade),
        (r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)|(?<=version )\d+(?:\.\d+)*(?!\w)", version),
        (r"(?<!\w)(\d[\d,.]*)\s?(?:-|--)\s?(?=\d)(\d[\d,.]*)(?![\w-])", range_),
        (
            r"(?<![\w.])(\d+)'\s?(\d\d?)\"",
            lambda match: f"{match[1]} foot {match[2]}",
        ),
        (rf"(?<![\w.])(?P<number>{number})\s?(?P<unit>{units})(?![\w/])", unit),
        (
            r"(?<![\w.])\.(\d+)",
            lambda match: f" point {digits(match)}",
        ),
        (r"(?<![\d:])(\d+):(?=\d)(?![\d:]*:)", lambda match: f"{match[1]} to "),
        (
            r"(?<!\w)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:st|nd|rd|th)\b",
            lambda match: f" {ordinal(match[1])} ",
        ),
    ]


def _year(number: str) -> str:
    """A year of four digits in English words."""
    return numbers.year(number, "en")


def _russian_numbers() -> Rules:
    """Amounts and places of Russian."""

    def amount(match: re.Match) -> str:
        whole, cents = match["whole"].replace(" ", ""), match["cents"] or ""
        try:
            return f" {numbers.money(whole, cents, CURRENCIES[match['sign']], 'ru')} "
        except TextError:  # a currency without words
            return f" {match['whole']} {match['sign']} "

    def ordinal(match: re.Match) -> str:
        options = _RUSSIAN_ORDINALS[match["ending"]]
        return f" {numbers.ordinal(match['whole'].replace(' ', ''), 'ru', **options)} "

    whole, cents = (
        r"(?P<whole>\d{1,3}(?: \d{3})+(?!\d)|\d+)",
        r"(?:[.,](?P<cents>\d{1,2})(?!\d))?",
    )
    sign = f"(?P<sign>[{''.join(CURRENCIES)}])"
    return [
        (rf"{sign}\s?{whole}{cents}", amount),
        (rf"(?<![\d.,]){whole}{cents}\s?{sign}", amount),
        (rf"(?<![\w.,]){whole}-(?P<ending>{'|'.join(_RUSSIAN_ORDINALS)})\b", ordinal),
    ]


def _plain_numbers(language: str) -> Rules:
    """Whatever digits are left, in any language."""
    group = "," if language == "en" else " "

    def cardinal(match: re.Match) -> str:
        whole, fraction = match["whole"].replace(group, ""), match["fraction"]
        if language == "en" and not fraction and re.fullmatch("1[1-9]..|20[1-9].", match["whole"]):
            return f" {_year(whole)} "
        number = f"{whole}.{fraction}" if fraction else whole
        return f" {numbers.cardinal((match['minus'] or '') + number, language)} "

    whole = rf"(?P<whole>\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)"
    return [
        (r"(?<=\d):(?=\d)", lambda match: " "),
        (rf"(?P<minus>(?<![\w-])-)?{whole}(?:[.,](?P<fraction>\d+))?", cardinal),
    ]
