"""Voices that were saved by name: a small file each, which holds no sound.

It has an embedding, and what a network by durations changes so as to speak as the voice does.
"""

import base64
import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from lin_jax import checksums, private
from lin_jax.errors import ConfigError

FOLDER = pathlib.Path("~/.lin_jax/voices")
SUFFIX = ".voice.json"
ARRAYS = ("embedding", "ltas", "ltas_correction")


@dataclasses.dataclass(frozen=True, eq=False)
class SavedVoice:
    """A voice as it is kept.

    Attributes:
        fingerprint: `Verifier.fingerprint` of the speaker bundle that embedded it.
        consent: by what right it may be used, in words.
        fields: of a `VoiceProfile`.
    """

    fingerprint: str
    consent: str
    fields: dict[str, Any]


def save(name: str, profile, fingerprint: str, consent: str) -> pathlib.Path:
    """Keep a voice by name, in place of one that was kept before; only its owner may read it.

    Args:
        name: letters, digits, "-" and "_", 64 at most, not beginning with "-".
        profile: the `VoiceProfile`.
        fingerprint: of the speaker bundle that embedded it.
        consent: by what right it may be used.

    Returns:
        The file.

    Raises:
        ConfigError: the name cannot be one, nobody consented, others can write to the folder, or
            the disk does not take it.
    """
    if not consent:
        raise ConfigError(f"{name}: say by what right this voice may be used")
    path = path_of(name)
    arrays = {field: getattr(profile, field) for field in ARRAYS}
    content = {
        "fingerprint": fingerprint,
        "consent": consent,
        **{field: None if x is None else np.asarray(x).tolist() for field, x in arrays.items()},
        "adapted": profile.adapted,
        "adaptation": {name: _packed(x) for name, x in (profile.adaptation or {}).items()},
    }
    try:
        private.make_folder(path.parent, ConfigError)
        private.replace_text(path, checksums.to_json(content))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from None
    return path


def load(name: str, fingerprint: str = "") -> SavedVoice:
    """A voice that was saved.

    Args:
        name: of the voice.
        fingerprint: of the speaker bundle of the synthesizer that is to use it; "" is any.

    Raises:
        ConfigError: no such voice, a damaged file, one that others can write, or one of another
            speaker bundle.
    """
    path = path_of(name)
    try:
        for place in (path.parent, path):
            private.check(place, ConfigError)
        content = checksums.from_json(path.read_text(encoding="utf-8"))
        fields: dict[str, Any] = {field: _array(content[field]) for field in ARRAYS}
        fields["adapted"] = content.get("adapted", "")  # earlier voices lack it
        packed = content.get("adaptation", {})
        fields["adaptation"] = {name: _unpacked(x) for name, x in packed.items()} or None
        voice = SavedVoice(content["fingerprint"], content["consent"], fields)
    except FileNotFoundError:
        known = ", ".join(names()) or "none is"
        raise ConfigError(f"{name}: no such voice is saved ({known})") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"{path}: damaged; save the voice again") from None
    if fingerprint and voice.fingerprint != fingerprint:
        raise ConfigError(f"{name}: saved with another speaker bundle; save it again")
    return voice


def names() -> list[str]:
    """The voices that are saved, sorted."""
    return sorted(
        path.name.removesuffix(SUFFIX)
        for path in FOLDER.expanduser().glob(f"*{SUFFIX}")
        if not path.name.startswith(".")
    )


def remove(name: str):
    """Delete a voice.

    Raises:
        ConfigError: no such voice is saved.
    """
    path = path_of(name)
    if not path.exists():
        raise ConfigError(f"{name}: no such voice is saved ({', '.join(names()) or 'none is'})")
    path.unlink()


def path_of(name: str) -> pathlib.Path:
    """The file of a voice; ConfigError if it cannot have such a name."""
    if not re.fullmatch(r"\w[\w-]{0,63}", name):
        raise ConfigError(
            f"{name!r}: cannot be a name; use 1 to 64 letters, digits, - and _, not beginning with -"
        )
    return FOLDER.expanduser() / f"{name}{SUFFIX}"


def _array(value) -> np.ndarray | None:
    return None if value is None else np.array(value, np.float32)


def _packed(array) -> dict:
    """An array as JSON keeps it, in half precision."""
    data = base64.b64encode(np.asarray(array, "<f2").tobytes()).decode("ascii")
    return {"shape": list(array.shape), "float16": data}


def _unpacked(packed: dict) -> np.ndarray:
    data = base64.b64decode(packed["float16"], validate=True)
    return np.frombuffer(data, "<f2").reshape(packed["shape"])
