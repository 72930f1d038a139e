"""Sound of unknown length is read to its end, comment and all."""

import numpy as np

from lin_jax.audio import files, wav_stream


def test_read_back(tmp_path):
    samples = np.linspace(-1, 1, 5001).astype(np.float32)
    path = tmp_path / "pipe.wav"
    path.write_bytes(
        wav_stream.header(16000, "synthetic speech, odd")
        + b"".join(wav_stream.encode(part) for part in np.array_split(samples, 3))
    )
    back, rate = files.read(path)
    assert rate == 16000
    np.testing.assert_allclose(back, samples, atol=1e-4)
    assert "synthetic speech, odd" in dict(files.describe(path).tags).values()
