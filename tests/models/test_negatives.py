"""Log-mels on the disk: what comes back is what was written, and none of it is in memory before it is read."""

import mmap

import numpy as np
import pytest

from gunshot.models.network import negatives


@pytest.mark.parametrize("frames", [[3, 1, 7], [5], [0, 4], []])
def test_what_is_read_is_what_was_written(tmp_path, frames):
    rng = np.random.default_rng(1)
    written = [rng.normal(-60, 9, (32, n)).astype(np.float32) for n in frames]
    assert negatives.write(tmp_path / "pool", iter(written)) == frames
    read = negatives.read(tmp_path / "pool", frames)
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32 and isinstance(base(one), mmap.mmap)


def test_a_file_that_holds_other_frames_is_an_error(tmp_path):
    negatives.write(tmp_path / "pool", [np.zeros((32, 5), np.float32)])
    with pytest.raises(ValueError, match="reshape"):
        negatives.read(tmp_path / "pool", [7])


def base(array: np.ndarray) -> object:
    while isinstance(array, np.ndarray):
        array = array.base
    return array
