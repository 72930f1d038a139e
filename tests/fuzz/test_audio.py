"""A hundred damaged recordings of every format are read or refused; `make fuzz` takes 2,000."""

import collections

from fuzz import audio


def test_damaged_files_are_read_or_refused(tmp_path, capfd):
    outcomes = collections.Counter(audio.run(tmp_path, 100))
    assert set(outcomes) == {"read", "refused"}
    assert min(outcomes.values()) > 10
    assert capfd.readouterr().err == ""
