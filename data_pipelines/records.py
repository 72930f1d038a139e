"""Records: examples in a TFDS dataset of ArrayRecord files, written and read without TensorFlow."""

import contextlib
import functools
import io
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import dataset_builder, example_serializer
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.engines import Engine
from lin_jax import durable

SPLIT = "clips"


class SpeechFeatures(dataset_builder.FileReaderBuilder):
    """Utterances with their features or waveform, in the order in which they come.

    TFDS would write the files one by one, or as so many steps of a pipeline; here each is an item
    of one step of an engine.

    Args:
        parts: of each file, what `read` takes, and as long as what it gives.
        read: makes examples of a part.
        fields: see `describe`.
        engine: see `data_pipelines.engines`.
        **kwargs: as of any builder.
    """

    # Where TFDS would look for checksums of downloads, with a package that it does not install.
    code_path = None
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        parts: Sequence[Sequence],
        read: Callable[[Sequence], Iterable[dict]],
        fields: dict,
        engine: Engine,
        **kwargs,
    ):
        self._parts, self._read, self._fields, self._engine = parts, read, fields, engine
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Speech features; read them with data_pipelines.features.open_features.",
            features=describe(**self._fields),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager, download_config=None):
        template = self._get_filename_template(SPLIT)
        paths = [Path(path) for path in template.sharded_filepaths(len(self._parts))]
        write_file = functools.partial(_write_file, self._read, self._fields)
        self._engine(write_file, list(zip(paths, self._parts, strict=True)))
        split = tfds.core.SplitInfo(
            name=SPLIT,
            shard_lengths=[len(part) for part in self._parts],
            num_bytes=sum(path.stat().st_size for path in paths),
            filename_template=template,
        )
        self.info.set_splits(tfds.core.splits.SplitDict([split]))


def describe(store: str, num_features: int, labels: Iterable[str]) -> tfds.features.FeaturesDict:
    """The TFDS features of a record: text, labels, and the array of a store.

    `encoding="bytes"` reads 20 times faster than the default.
    """
    array = {
        "features": tfds.features.Tensor(
            shape=(None, num_features), dtype=np.float32, encoding="bytes"
        )
    }
    if store == "waveform":
        waveform = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
        array = {"waveform": waveform, "scale": tfds.features.Scalar(np.float32)}
    text = tfds.features.Text
    names = {name: text() for name in ("id", "speaker", "text")}
    labels = {"labels": {name: text() for name in labels}}
    return tfds.features.FeaturesDict(names | labels | array)


def split(items: Sequence, num_bytes: int) -> list[Sequence]:
    """Items that take so many bytes together as those of each file, by the rule of TFDS."""
    count = shard_utils.ShardConfig().get_number_shards(num_bytes, len(items))
    ends = shard_utils.get_shard_boundaries(len(items), count)
    return [items[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def write(
    folder: Path,
    parts: Sequence[Sequence],
    read: Callable[[Sequence], Iterable[dict]],
    fields: dict,
    engine: Engine,
) -> None:
    """Write a new folder, which appears only when all examples are in it.

    Args:
        folder: its place.
        parts: see `SpeechFeatures`, as for the others.
        read: is called wherever the engine works.
        fields: arguments of `describe`.
        engine: writes the files.

    Raises:
        OSError: the disk is full.
    """
    scratch = folder.with_name(folder.name + ".tfds")
    builder = SpeechFeatures(
        data_dir=os.fspath(scratch), parts=parts, read=read, fields=fields, engine=engine
    )
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download that never happens
        builder.download_and_prepare(download_dir=os.fspath(scratch / "downloads"))
    durable.replace(builder.data_dir, folder)
    shutil.rmtree(scratch)


def _write_file(
    read: Callable[[Sequence], Iterable[dict]], fields: dict, file: tuple[Path, Sequence]
) -> None:
    """One file of examples, uncompressed.

    Compressed, floats take a tenth less, and four times as long to read.
    """
    path, part = file
    features = describe(**fields)
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    try:
        with durable.replacing(path) as unfinished:
            writer = ArrayRecordWriter(os.fspath(unfinished), "group_size:1,uncompressed")
            for example in read(part):
                record = serializer.get_tf_example(features.encode_example(example))
                # Without this its fields come in another order in each process.
                writer.write(record.SerializeToString(deterministic=True))
            writer.close()
    except RuntimeError as error:  # how ArrayRecord reports a full disk
        raise OSError(str(error).split(";")[0]) from error


class Records:
    """The arrays of a written folder, read at random, many at once, from any thread.

    TFDS finds the records; its decoder, which takes ten times as long as reading them, is passed
    by: what it would give is one field of a `tf.train.Example` and the bytes of an array. Reading is
    done by the thread that asks: those that ArrayRecord would start for many cost more than they save.

    Args:
        folder: what `write` made.
        store: "features" or "waveform", which array.
        num_features: D.
    """

    def __init__(self, folder: Path, store: str, num_features: int):
        builder = tfds.builder_from_directory(os.fspath(folder))
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._records = builder.as_data_source(SPLIT, deserialize_method=raw)
        self._store, self._num_features = store, num_features

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: Sequence[int]) -> list[dict]:
        """Each a dict of id (str) and features [T, D] float32, or waveform [N] int16 and scale."""
        return [self._decode(self._records[index]) for index in indices]

    def _decode(self, record: bytes) -> dict:
        fields = tf_example_pb2.Example.FromString(record).features.feature
        clip = {"id": fields["id"].bytes_list.value[0].decode()}
        (array,) = fields[self._store].bytes_list.value
        if self._store == "features":
            array = np.frombuffer(array, np.float32).reshape(-1, self._num_features)
            return clip | {"features": array}
        (scale,) = fields["scale"].float_list.value
        return clip | {"waveform": np.frombuffer(array, np.int16), "scale": np.float32(scale)}
