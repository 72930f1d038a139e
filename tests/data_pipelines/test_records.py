"""Records as they lie on the disk."""

import numpy as np

from data_pipelines import records


def test_arrays_are_written_as_they_are(tmp_path):
    """Compressed, zeros would take next to nothing, and all of them longer to read."""
    features = np.zeros((400, 64), np.float32)
    examples = [
        {"id": name, "speaker": "s", "text": "", "labels": {}, "features": features + row}
        for row, name in enumerate(("a", "b"))
    ]
    records.write(tmp_path / "records", examples, records.array_spec("features", 64), [])
    (path,) = (tmp_path / "records").glob("*array_record*")
    assert path.stat().st_size > 2 * features.nbytes
    clips = records.Records(tmp_path / "records", "features", 64).read([1, 0])
    assert [clip["id"] for clip in clips] == ["b", "a"]
    np.testing.assert_array_equal(clips[0]["features"], features + 1)
