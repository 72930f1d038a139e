"""Feature sets: corpora as one front end sees them, stored so that any clip is read at once.

T frames, D features, N samples. A feature set is a folder:

  records/       a TFDS dataset (ArrayRecord): per clip features [T, D] float32, or
                 waveform [N] as int16 and a scale
  rows.jsonl     what is known of each clip, in the order of the records
  moments.npy    [clips, 2, D] float64, sum and sum of squares over a clip's frames
  frontend.json  the front end, its fingerprint, what is stored, and checksums of the other files;
                 those of the records are in them
  stats.json     mean and deviation per feature, durations, labels, speakers
  report.json    what was written, and what was skipped for which reason

`data_pipelines.features.prepare` writes it; `open_features` reads it, or several as one.
"""

import contextlib
import functools
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.corpora import UNKNOWN
from lin_jax import checksums
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import FeatureError

RECORDS_INFO = ("records/dataset_info.json", "records/features.json")
REMAKE = "delete the folder and prepare it again"


class FeatureSet:
    """The clips of a prepared corpus, by index.

    Attributes:
        folder: where it lies.
        frontend: the front end it was made with.
        store: "features" or "waveform", which is also the key of each item.
        rows: per clip a dict of id, path, speaker, text, labels, length and seconds.
        stats: the content of stats.json.
        lengths: [clips] int, frames or samples of each clip.
        speakers: [clips] str; one who is played at another speed is another speaker.
        people: [clips] str, who speaks at whatever speed: nobody may stand on two sides of a split.
        speeds: [clips] at which each is played.
        natural: indices of the clips at their own speed.
        corpora: [clips] str, name of the folder that each clip comes from.
    """

    def __init__(
        self, folder: Path, frontend: FrontendConfig, store: str, rows: list[dict], stats: dict
    ):
        # Here, not in a thread: importing TFDS while others import can break theirs.
        from data_pipelines import records

        self._open_records = records.Records
        self.folder, self.frontend, self.store, self.rows, self.stats = (
            folder,
            frontend,
            store,
            rows,
            stats,
        )
        self.lengths = np.array([row["length"] for row in rows], np.int32)
        self.speakers = np.array([row["speaker"] for row in rows])
        self.speeds = np.array([row.get("speed", 1.0) for row in rows])
        self.natural = np.flatnonzero(self.speeds == 1.0)
        pairs = zip(self.speakers.tolist(), self.speeds, strict=True)
        self.people = np.array([speaker.removesuffix(f"@{speed:g}") for speaker, speed in pairs])
        self.corpora = np.full(len(rows), folder.name)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """One clip, as `read` gives it."""
        return self.read([index])[0]

    def read(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Some clips, faster at once than one by one.

        Returns:
            For each {"features": [T, D] float32} or {"waveform": [N] float32}.

        Raises:
            FeatureError: a record is corrupt; says which.
        """
        places = [range(len(self))[index] for index in indices]
        try:
            records = self._source.read(places)
        except FeatureError:
            raise
        except Exception as error:  # each layer below (Riegeli, ArrayRecord, protobuf) has its own
            if len(places) > 1:  # which of them?
                return [clip for place in places for clip in self.read([place])]
            raise self._corrupt(places[0]) from error
        return [self._clip(place, record) for place, record in zip(places, records, strict=True)]

    def _clip(self, index: int, record: dict) -> dict[str, np.ndarray]:
        value, row = record[self.store], self.rows[index]
        if len(value) != row["length"] or record["id"] != row["id"]:  # another clip's
            raise self._corrupt(index)
        if self.store == "waveform":
            value = value.astype(np.float32) * record["scale"]
        return {self.store: value}

    def _corrupt(self, index: int) -> FeatureError:
        name = self.rows[index]["id"]
        return FeatureError(f"{self.folder}: record {index} ({name}) is corrupt: {REMAKE}")

    def labels(
        self, name: str, names: Sequence[str] | None = None
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Number the values of a label.

        Args:
            name: a label of the corpus, such as "emotion", or "speaker".
            names: the classes in order; the values found, sorted, when None.

        Returns:
            [clips] int32 class of each clip, and the classes.

        Raises:
            FeatureError: a label or a value that is not there.
        """
        known = ["speaker", *self.rows[0]["labels"]]
        if name not in known:
            raise FeatureError(
                f"{self.folder}: no label {name!r}: choose one of {', '.join(known)}"
            )
        values = (
            self.speakers.tolist()
            if name == "speaker"
            else [row["labels"][name] for row in self.rows]
        )
        names = tuple(sorted(set(values)) if names is None else names)
        if extra := sorted(set(values) - set(names)):
            raise FeatureError(
                f"{self.folder}: {name} {extra[0]!r} is not among {', '.join(names)}: add it to "
                "the classes"
            )
        number = {value: i for i, value in enumerate(names)}
        return np.array([number[value] for value in values], np.int32), names

    def with_label(self, name: str) -> "FeatureSet":
        """The clips of which a label is known; FeatureError if there are none."""
        known = [
            index
            for index, row in enumerate(self.rows)
            if row["labels"].get(name, UNKNOWN) != UNKNOWN
        ]
        if not known:
            raise FeatureError(
                f"{self.folder}: {name} is known of no clip: add a feature set that has it"
            )
        return self if len(known) == len(self) else Subset(self, known)

    def at_own_speed(self) -> "FeatureSet":
        """The clips at their own speed."""
        return self if len(self.natural) == len(self) else Subset(self, self.natural)

    def at_every_speed(self, indices: Sequence[int]) -> np.ndarray:
        """Some clips at whatever speed.

        Args:
            indices: of clips, as `at_own_speed` numbers them.
        """
        chosen = {self.rows[row]["id"] for row in self.natural[indices]}
        ids = (row["id"].removesuffix(f"@{row.get('speed', 1.0):g}") for row in self.rows)
        return np.flatnonzero([id_ in chosen for id_ in ids])

    def describe(self, indices: Sequence[int] | None = None) -> list[dict]:
        """What some clips are, for the card of what is trained on them.

        Args:
            indices: of the clips; all of them when None.

        Returns:
            Per corpus and licence a dict of name, licence (None if unknown), speakers, clips,
            hours and, of subsets that figures are quoted on, their names, as `lin_jax.bundles.card`
            has them. A clip played at other speeds counts once, but for its hours.
        """
        groups: dict[tuple, list[int]] = {}
        for index in range(len(self)) if indices is None else indices:
            row = self.rows[index]
            stated = row["labels"].get("licence", UNKNOWN)
            licence = row.get("licence") if stated in ("", UNKNOWN) else stated
            groups.setdefault((str(self.corpora[index]), licence), []).append(int(index))
        return [
            {
                "name": name,
                "licence": licence,
                "speakers": len(set(self.people[group])),
                "clips": len({self.rows[index]["path"] for index in group}),
                "hours": round(sum(self.rows[index]["seconds"] for index in group) / 3600, 2),
            }
            | self._evaluation_subsets(group)
            for (name, licence), group in sorted(groups.items(), key=str)
        ]

    def _evaluation_subsets(self, indices: Sequence[int]) -> dict[str, list[str]]:
        subsets = {self.rows[index]["labels"].get("subset", "") for index in indices}
        quoted = sorted(name for name in subsets if name.startswith(("dev-", "test-")))
        return {"evaluation_subsets": quoted} if quoted else {}

    def mean_std(self, indices: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation [D] float32 over all frames of some clips: those trained on, and no others."""
        chosen = slice(None) if indices is None else np.asarray(indices)
        frames = np.array([row["frames"] for row in self.rows])[chosen].sum()
        total, squares = self._moments[chosen].sum(0)
        return mean_std(frames, total, squares)

    @functools.cached_property
    def _moments(self) -> np.ndarray:
        with _reading(self.folder):
            return np.load(io.BytesIO(_read_checked(self.folder, "moments.npy")))

    @functools.cached_property
    def _source(self):
        with _reading(self.folder):
            for name in RECORDS_INFO:
                _read_checked(self.folder, name)
            size = self.frontend.num_features
            source = self._open_records(self.folder / "records", self.store, size)
            if len(source) != len(self):
                raise ValueError(f"{len(source)} records for {len(self)} clips")
        return source

    def __getstate__(self) -> dict:
        """Leave the open files behind when it is sent to another process."""
        return {key: value for key, value in self.__dict__.items() if key != "_source"}


class JoinedSet(FeatureSet):
    """Several feature sets of one front end as one.

    Clips and speakers are named after their set as well.

    A label that only some of the sets have is "unknown" in the others.
    """

    def __init__(self, sets: Sequence[FeatureSet]):
        first, names = sets[0], [part.folder.name for part in sets]
        if len(set(names)) < len(names):
            raise FeatureError(f"{', '.join(names)}: two feature sets of one name: rename a folder")
        for other in sets[1:]:
            check_frontend(other.folder, other.frontend, first.frontend)
            if other.store != first.store:
                raise FeatureError(
                    f"{other.folder}: holds the {other.store} store, {first.folder} the "
                    f"{first.store} store: "
                    "prepare both with the same --store"
                )
        labels = dict.fromkeys(label for part in sets for label in part.rows[0]["labels"])
        rows = [
            row
            | {"id": f"{name}/{row['id']}", "speaker": f"{name}/{row['speaker']}"}
            | {"labels": dict.fromkeys(labels, UNKNOWN) | row["labels"]}
            for name, part in zip(names, sets, strict=True)
            for row in part.rows
        ]
        super().__init__(first.folder.parent, first.frontend, first.store, rows, {})
        self.corpora = np.repeat(names, list(map(len, sets)))
        self._sets, self._starts = list(sets), np.cumsum([0, *map(len, sets)])

    def read(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Some clips, as `FeatureSet` gives them."""
        places = np.array([range(len(self))[index] for index in indices], np.int64)
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        clips: list = [None] * len(places)
        for number in np.unique(numbers).tolist():
            chosen = np.flatnonzero(numbers == number).tolist()
            read = self._sets[number].read((places[chosen] - self._starts[number]).tolist())
            for place, clip in zip(chosen, read, strict=True):
                clips[place] = clip
        return clips

    @functools.cached_property
    def _moments(self) -> np.ndarray:
        return np.concatenate([part._moments for part in self._sets])


class Subset(FeatureSet):
    """Some clips of a feature set."""

    def __init__(self, whole: FeatureSet, indices: Sequence[int]):
        self._whole, self._indices = whole, np.asarray(indices)
        super().__init__(
            whole.folder, whole.frontend, whole.store, [whole.rows[index] for index in indices], {}
        )
        self.corpora = whole.corpora[self._indices]

    def read(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Some clips, as `FeatureSet` gives them."""
        return self._whole.read([int(self._indices[index]) for index in indices])

    @functools.cached_property
    def _moments(self) -> np.ndarray:
        return self._whole._moments[self._indices]


class Segments(FeatureSet):
    """Consecutive pieces of one length of the clips of a feature set, as clips of their own.

    Args:
        whole: the feature set.
        indices: clips to cut; one that is shorter than a piece gives none.
        seconds: length of a piece.
        max_per_clip: pieces a clip gives at most, the first ones; all when None.

    Raises:
        FeatureError: no clip is that long.
    """

    def __init__(
        self,
        whole: FeatureSet,
        indices: Sequence[int],
        seconds: float,
        max_per_clip: int | None = None,
    ):
        samples = round(seconds * whole.frontend.sample_rate)
        self._whole, self._size = (
            whole,
            samples if whole.store == "waveform" else whole.frontend.num_frames(samples),
        )
        self._places, rows = [], []
        for index in indices:
            row = whole.rows[index]
            for piece in range(min(row["length"] // self._size, max_per_clip or row["length"])):
                self._places.append((int(index), piece * self._size))
                name = f"{row['id']}@{piece * seconds:g}-{(piece + 1) * seconds:g}"
                rows.append(row | {"id": name, "length": self._size, "seconds": seconds})
        if not rows:
            raise FeatureError(
                f"{whole.folder}: no clip of {len(indices)} is {seconds:g} s long: cut shorter "
                "pieces"
            )
        super().__init__(whole.folder, whole.frontend, whole.store, rows, {})
        self.corpora = whole.corpora[[index for index, _ in self._places]]

    def read(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Some pieces, as `FeatureSet` gives clips."""
        places = [self._places[index] for index in indices]
        clips = self._whole.read([clip for clip, _ in places])
        return [
            {self.store: clip[self.store][start : start + self._size]}
            for clip, (_, start) in zip(clips, places, strict=True)
        ]


def open_features(
    folder: str | Path, frontend: FrontendConfig | None = None, store: str | None = None
) -> FeatureSet:
    """Open a prepared feature set, or several as one.

    Args:
        folder: what `prepare` wrote; several, with commas between them, make a `JoinedSet`.
        frontend: the front end the features must have been made with; any when None.
        store: what it must hold; either when None.

    Raises:
        FeatureError: not a feature set, broken, made with another front end (says which fields
            differ), or of another store.
    """
    folders = str(folder).split(",")
    if len(folders) > 1:
        return JoinedSet([open_features(name, frontend, store) for name in folders])
    folder = Path(folder)
    head = read_head(folder)
    if head is None and folder.with_name(folder.name + ".partial").exists():
        raise FeatureError(
            f"{folder}: not finished yet: run the command that prepares it again to go on"
        )
    if head is None:
        raise FeatureError(
            f"{folder}: no feature set: make one with `python -m data_pipelines CORPUS --out "
            f"{folder}`"
        )
    stored = FrontendConfig.from_dict(head["frontend"])
    if frontend is not None:
        check_frontend(folder, stored, frontend)
    if store not in (None, head["store"]):
        raise FeatureError(
            f"{folder}: holds the {head['store']} store: prepare it with --store {store}"
        )
    with _reading(folder):
        lines = _read_checked(folder, "rows.jsonl").decode().split("\n")[:-1]
        rows = [json.loads(line) for line in lines]
        feature_set = FeatureSet(
            folder, stored, head["store"], rows, read_json(folder / "stats.json")
        )
    feature_set._source  # noqa: B018  opened here, so that broken records show at once
    return feature_set


def read_head(folder: Path) -> dict | None:
    """The content of frontend.json, or None where there is none."""
    if not (folder / "frontend.json").exists():
        return None
    with _reading(folder):
        head = checksums.from_json((folder / "frontend.json").read_text(encoding="utf-8"))
        if missing := {"store", "corpus", "frontend", "files"} - set(head):
            raise ValueError(f"frontend.json has no {missing.pop()}")
        FrontendConfig.from_dict(head["frontend"])
    return head


def write_head(folder: Path, head: dict) -> None:
    """Write frontend.json, with checksums of all other files that are there by now."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): checksums.of_file(path)
        for path in paths
        if "array_record" not in path.name
    }
    text = checksums.to_json(head | {"files": files})
    (folder / "frontend.json").write_text(text, encoding="utf-8")


def read_json(path: Path):
    """The content of a JSON file of a feature set; FeatureError if it cannot be read."""
    with _reading(path.parent):
        return json.loads(_read_checked(path.parent, path.name))


def _read_checked(folder: Path, name: str) -> bytes:
    """The content of a file of a feature set; ValueError if it is not as it was written."""
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != read_head(folder)["files"].get(name):
        raise ValueError(f"{name} does not fit its checksum")
    return content


def check_frontend(folder: Path, stored: FrontendConfig, asked: FrontendConfig) -> None:
    """Refuse features of another front end, naming the fields that differ."""
    if stored.fingerprint() == asked.fingerprint():
        return
    here, there = stored.to_dict(), asked.to_dict()
    fields = ", ".join(
        f"{key} {here[key]} (asked: {there[key]})" for key in here if here[key] != there[key]
    )
    raise FeatureError(
        f"{folder}: made with another front end, {fields}: prepare the corpus again into another "
        "folder, "
        "or ask for this front end"
    )


def check_head(folder: Path, wanted: dict) -> bool:
    """Whether a folder already is the wanted feature set.

    FeatureError if it is something that must not be replaced.
    """
    head = read_head(folder)
    if head is None:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise FeatureError(f"{folder}: exists and is no feature set: choose another folder")
        return False
    check_frontend(
        folder,
        FrontendConfig.from_dict(head["frontend"]),
        FrontendConfig.from_dict(wanted["frontend"]),
    )
    if head["store"] != wanted["store"]:
        raise FeatureError(
            f"{folder}: holds the {head['store']} store, not {wanted['store']}: choose another "
            "folder"
        )
    return head["corpus"] == wanted["corpus"]


def mean_std(frames: int, total: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation per feature from sum and sum of squares over frames.

    Of a constant feature, deviation 1.
    """
    mean = total / frames
    variance = np.maximum(squares / frames - mean**2, 0)
    std = np.sqrt(np.where(variance > 1e-10, variance, 1))
    return mean.astype(np.float32), std.astype(np.float32)


@contextlib.contextmanager
def _reading(folder: Path):
    """Whatever goes wrong inside is a FeatureError: each layer below has exceptions of its own."""
    try:
        yield
    except FeatureError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FeatureError(f"{folder}: broken feature set ({line}): {REMAKE}") from error
