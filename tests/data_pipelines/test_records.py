"""Records as they lie on the disk."""

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines import engines, records


def test_arrays_are_written_as_they_are(tmp_path):
    """Compressed, zeros would take next to nothing, and all of them longer to read."""
    features = np.zeros((400, 64), np.float32)
    examples = [
        {"id": name, "speaker": "s", "text": "", "labels": {}, "features": features + row}
        for row, name in enumerate(("a", "b"))
    ]
    fields = {"store": "features", "num_features": 64, "labels": []}
    records.write(tmp_path / "records", [examples], iter, fields, engines.in_turn)
    (path,) = (tmp_path / "records").glob("*array_record*")
    assert path.stat().st_size > 2 * features.nbytes
    reader = records.Records(tmp_path / "records", "features", 64)
    clips = reader.read([1, 0])
    assert [clip["id"] for clip in clips] == ["b", "a"]
    np.testing.assert_array_equal(clips[0]["features"], features + 1)
    # The same bytes in every process: the fields of a record are sorted.
    (record, _) = reader._records
    example = tf_example_pb2.Example.FromString(record)
    assert example.SerializeToString(deterministic=True) == record
