"""Records: examples in a TFDS dataset of ArrayRecord files, written and read without TensorFlow."""

import contextlib
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.proto import tf_example_pb2

from lin_jax import durable

SPLIT = "clips"


class _Uncompressed(file_adapters.ArrayRecordFileAdapter):
    """Array records as they are: compressed, floats take a tenth less, and four times as long to
    read.
    """

    @classmethod
    def write_examples(cls, path, iterator):
        writer = ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        for _, example in iterator:
            writer.write(example)
        writer.close()


# TFDS has no other way to set how it writes.
file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.ARRAY_RECORD] = _Uncompressed


class SpeechFeatures(tfds.core.GeneratorBasedBuilder):
    """Utterances with their features or waveform, in the order in which they come."""

    # Where TFDS would look for checksums of downloads, with a package that it does not install.
    code_path = None
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self, *, array: dict, labels: Iterable[str] = (), examples: Iterable[dict] = (), **kwargs
    ):
        self._array, self._labels, self._examples = array, labels, examples
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        fields = {
            "id": text(),
            "speaker": text(),
            "text": text(),
            "labels": {name: text() for name in self._labels},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Speech features; read them with data_pipelines.features.open_features.",
            features=tfds.features.FeaturesDict(fields | self._array),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self):
        yield from enumerate(self._examples)


def array_spec(store: str, num_features: int) -> dict:
    """TFDS features of the array in a record.

    `encoding="bytes"` reads 20 times faster than the default.
    """
    if store == "features":
        return {
            "features": tfds.features.Tensor(
                shape=(None, num_features), dtype=np.float32, encoding="bytes"
            )
        }
    waveform = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
    return {"waveform": waveform, "scale": tfds.features.Scalar(np.float32)}


def write(folder: Path, examples: Iterable[dict], array: dict, labels: Iterable[str]) -> None:
    """Write examples to a new folder, which appears only when all of them are in it.

    OSError if the disk is full.
    """
    scratch = folder.with_name(folder.name + ".tfds")
    builder = SpeechFeatures(
        data_dir=os.fspath(scratch), array=array, labels=labels, examples=examples
    )
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # TFDS announces a download that never happens
            builder.download_and_prepare(download_dir=os.fspath(scratch / "downloads"))
    except RuntimeError as error:  # how ArrayRecord reports a full disk
        raise OSError(str(error).split(";")[0]) from error
    durable.replace(builder.data_dir, folder)
    shutil.rmtree(scratch)


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
