"""A gallery of voices: a folder with one JSON file a speaker, which holds no sound, only embeddings.

A voice is nobody else's business: only their owner reads and writes the files. Each has a checksum.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from lin_jax import checksums, locks, private
from lin_jax.errors import GalleryError

if TYPE_CHECKING:
    from lin_jax.bundles import SpeakerEmbedding

DEFAULT = pathlib.Path("~/.lin_jax/gallery")
RESERVED = ("unknown", "unsure")  # what is answered when nobody is recognised


class Gallery:
    """The voices in a folder, which need not exist before the first is added.

    Args:
        folder: where; "~" is the user's home.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).expanduser()

    def names(self) -> list[str]:
        """Who is in it, sorted."""
        return sorted(
            path.stem for path in self.folder.glob("*.json") if not path.name.startswith(".")
        )

    def voices(self, name: str, fingerprint: str | None = None) -> "list[SpeakerEmbedding]":
        """Voices of one speaker, one a recording.

        Args:
            name: of the speaker.
            fingerprint: of the bundle that is going to compare them; None if none is.

        Returns:
            At least one.

        Raises:
            GalleryError: the name is unknown, or the file damaged, made with another bundle, or
                where others can write.
        """
        import numpy as np

        from lin_jax.bundles import SpeakerEmbedding

        path = self._known(name)
        try:
            for place in (self.folder, path):
                private.check(place, GalleryError)
            kept = checksums.from_json(path.read_text(encoding="utf-8"))
            if fingerprint not in (None, kept["model"]):
                raise GalleryError(
                    f"{name}: enrolled with another model, whose voices cannot be compared; "
                    f"lin gallery --remove {name}, and enroll again"
                )
            voices = [
                SpeakerEmbedding(
                    **(voice | {"embedding": np.array(voice["embedding"], np.float32)})
                )
                for voice in kept["voices"]
            ]
            if not voices:
                raise ValueError("no voices")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise GalleryError(
                f"{path}: damaged or not of a gallery; delete it and enroll {name} again"
            ) from None
        return voices

    def add(self, name: str, voices: "list[SpeakerEmbedding]", fingerprint: str) -> int:
        """Add recordings to a speaker, new or known, one that is there already taking its old place.

        Args:
            name: of the speaker; it becomes the name of the file.
            voices: the embedding of each recording.
            fingerprint: of the bundle that made them.

        Returns:
            How many recordings the speaker has now.

        Raises:
            GalleryError: as for `voices` or if the name cannot be one.
        """
        check(name)
        private.make_folder(self.folder, GalleryError)
        new = {voice.digest for voice in voices}
        with locks.hold(self._path(name), GalleryError, wait=True):  # else one of two is lost
            old = self.voices(name, fingerprint) if name in self.names() else []
            voices = [voice for voice in old if voice.digest not in new] + list(voices)
            plain = [
                dataclasses.asdict(voice) | {"embedding": voice.embedding.tolist()}
                for voice in voices
            ]
            text = checksums.to_json({"speaker": name, "model": fingerprint, "voices": plain})
            private.replace_text(self._path(name), text)
        return len(voices)

    def remove(self, name: str):
        """Forget a speaker; GalleryError if the name is unknown."""
        self._known(name).unlink()

    def _path(self, name) -> pathlib.Path:
        return self.folder / f"{name}.json"

    def _known(self, name) -> pathlib.Path:
        names = self.names()
        if name not in names:
            known = (
                f"known are {', '.join(names)}" if names else "nobody is: lin enroll NAME FILES…"
            )
            raise GalleryError(f"{name}: not enrolled in {self.folder}; {known}")
        return self._path(name)


def check(name: str):
    """Raises GalleryError unless a speaker can have that name, which becomes the name of a file."""
    if name in RESERVED:
        raise GalleryError(f"{name}: an answer, not a name; choose another")
    if not name.isprintable() or any(letter in name for letter in '/\\:*?"<>|'):
        raise GalleryError(
            f"{name!r}: cannot be the name of a file; leave out slashes, colons, and the like"
        )
    if not name or name != name.strip() or name[0] in ".-" or len(name) > 100:
        raise GalleryError(
            f"{name!r}: cannot be a name; use 1 to 100 letters, not beginning with a dot or dash"
        )
