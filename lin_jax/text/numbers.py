"""Numbers in words, by num2words from the `tts` extra."""

import decimal
import functools
import re

from lin_jax.errors import TextError

MAX_DIGITS = 12  # of a number; longer ones are read digit by digit


@functools.cache
def cardinal(number: str, language: str) -> str:
    """A number such as "-3.14" in words; by digits if it is long, or begins with 0 as "007" does.

    Raises:
        TextError: num2words is not installed, does not count in the language, or not so far.
    """
    digits = number.removeprefix("-")
    if digits.isdigit() and (len(digits) > MAX_DIGITS or (len(digits) > 1 and digits[0] == "0")):
        return " ".join(cardinal(digit, language) for digit in digits)
    return convert(number, language)


def year(number: str, language: str) -> str:
    """A year such as "1984" in words; errors as for `cardinal`."""
    return convert(number, language, to="year")


def ordinal(number: str, language: str, **options) -> str:
    """A place such as "22" in words, with options of num2words; errors as for `cardinal`."""
    return convert(number, language, to="ordinal", **options)


def money(whole: str, cents: str, currency: str, language: str) -> str:
    """An amount of a currency such as "USD" in words, its cents unless they are none.

    Raises:
        TextError: as for `cardinal`, or the language has no words for the currency.
    """
    words = convert(
        f"{whole}.{cents or '00'}", language, to="currency", currency=currency, separator="|"
    )
    units, _, rest = words.partition("|")
    if language == "en":  # as it is said: "three pounds fifty", "twelve euros"
        units = re.sub(
            r"\beuro\b", f"euro{'s' * (int(whole) != 1)}", units.replace(" sterling", "")
        )
    return units + (rest if int(cents or 0) else "")


@functools.cache
def convert(number: str, language: str, **options) -> str:
    """What num2words makes of a number; errors as for `cardinal`."""
    try:
        from num2words import num2words
    except ImportError:
        raise TextError(
            "numbers need num2words: pip install 'lin_jax[tts]', or write them in words"
        ) from None
    try:
        return num2words(decimal.Decimal(number), lang=language, **options)
    except NotImplementedError:
        raise TextError(
            f"num2words does not count in {language!r}: write the numbers in words"
        ) from None
    except OverflowError:
        raise TextError(f"{number[:20]}…: too large a number to read: write it in words") from None
