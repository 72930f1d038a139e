"""espeak-ng through ctypes, from the `tts` extra.

Where its library is, and the phonemes it reads in a text.
"""

import ctypes
import functools
import importlib.util
import re
import threading

from lin_jax.errors import TextError

UTF8, IPA = 1, 2  # espeak-ng's espeakCHARS_UTF8 and espeakPHONEMES_IPA
RETRIEVAL = 1  # its AUDIO_OUTPUT_RETRIEVAL: sound goes to a callback
_lock = threading.Lock()  # the library has one state a process


def installed() -> bool:
    """Whether espeak-ng is there."""
    return importlib.util.find_spec("espeakng_loader") is not None


@functools.cache
def library(data: str = "") -> tuple[ctypes.CDLL, int]:
    """The library, started, and the sample rate of its sound in Hz.

    Args:
        data: folder of its voices and dictionaries, if not its own.

    Raises:
        TextError: it is missing or does not start.
    """
    if not installed():
        raise TextError("espeak-ng is not installed: pip install 'lin_jax[tts]'")
    import espeakng_loader

    espeak, data = (
        ctypes.CDLL(espeakng_loader.get_library_path()),
        data or espeakng_loader.get_data_path(),
    )
    sample_rate = espeak.espeak_Initialize(RETRIEVAL, 0, data.encode(), 0)
    if sample_rate <= 0:
        raise TextError(
            f"espeak-ng cannot start with its data in {data}: pip install 'lin_jax[tts]' again"
        )
    espeak.espeak_TextToPhonemes.restype = ctypes.c_char_p
    espeak.espeak_TextToPhonemes.argtypes = [
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int,
        ctypes.c_int,
    ]
    return espeak, sample_rate


def phonemes(text: str, language: str) -> str:
    """A piece of text without punctuation as IPA, stress marks included.

    Args:
        text: words; numbers are read out, too.
        language: espeak-ng's name of it, such as "en-us" or "ru".

    Raises:
        TextError: espeak-ng is not installed, or does not speak the language.
    """
    espeak, _ = library()
    with _lock:
        if espeak.espeak_SetVoiceByName(language.encode()):
            raise TextError(
                f"espeak-ng does not speak {language!r}: name a language such as en-us or ru"
            )
        rest, clauses = ctypes.c_char_p(text.encode()), []
        while rest.value:
            clauses.append(espeak.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, IPA).decode())
    # (en) marks where it changes language; " and ^ are left of vowels that it has no letter for.
    return re.sub(r"\([a-z-]+\)|[\"^]", "", " ".join(filter(None, clauses)))
