"""Large data sets: read from their place in the files, and opened again by other processes."""

import os
import resource

import numpy as np
import pytest
import torch

from musegan.data import plane_files
from musegan.data.dataset import PackedDataset
from musegan.data.packed import DatasetError, pack, write_shard
from musegan.data.phrases import Augmentation, Phrases
from musegan.data.plane_files import open_planes
from tests.data.songs import bars_of
from tests.data.test_phrases import SPEC, bars


@pytest.fixture
def path(tmp_path):
    """Three shards of 12, 5 and 7 bars."""
    for i, n_bars in enumerate((12, 5, 7)):
        write_shard(tmp_path / f"shard-{i:05d}.safetensors", SPEC, [pack(str(i), [bars(range(n_bars), i)], SPEC)])
    return tmp_path


def packed(dataset, plane):
    return torch.cat([getattr(shard, plane) for shard in dataset._shards])


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Every set counts as large, but where a test says otherwise."""
    monkeypatch.setattr(plane_files, "MAX_MAPPED_BYTES", 0)


def from_place(path, plane):
    return open_planes(sorted(path.iterdir()))[plane]


@pytest.mark.parametrize("plane", ["frame", "onset"])
@pytest.mark.parametrize("starts", [
    [], [3], [0, 1, 2], [23, 0, 11, 12, 13, 16, 17, 18], list(range(24)), [5, 5, 6, 5],
])
def test_bars_are_those_of_the_map(path, plane, starts):
    expected = packed(PackedDataset.open(path), plane)[starts]
    assert torch.equal(from_place(path, plane).read(torch.tensor(starts, dtype=torch.int64), 1), expected)


def test_phrases_are_those_of_the_map(path):
    dataset = PackedDataset.open(path)
    starts = torch.tensor([9, 0, 3, 6, 9, 12, 14, 17, 20, 21])    # some follow each other, also into the next shard
    place = (starts[:, None] + torch.arange(3)).flatten()
    assert torch.equal(from_place(path, "onset").read(starts, 3), packed(dataset, "onset")[place])


def test_bars_beyond_the_last_are_refused(path):
    for start in (22, -1):
        with pytest.raises(IndexError, match="phrases of 3 bars must lie within the 24 bars"):
            from_place(path, "onset").read(torch.tensor([start]), 3)


def test_large_and_small_sets_give_the_same(path, monkeypatch):
    monkeypatch.setattr(plane_files, "MAX_MAPPED_BYTES", 1 << 26)
    small = PackedDataset.open(path)
    starts = small.phrase_starts(3)
    expected = Phrases(small, starts, 3, normalize_key=True)
    batches = [expected.batch(step, 0, 8, augmentation=Augmentation(3, 0.5)) for step in range(4)]
    monkeypatch.setattr(plane_files, "MAX_MAPPED_BYTES", 0)
    large = PackedDataset.open(path)
    large._shards = [shard._replace(frame=None, onset=None) for shard in large._shards]    # never asked
    phrases = Phrases(large, starts, 3, normalize_key=True)
    assert phrases.fingerprint() == expected.fingerprint()
    for step, batch in enumerate(batches):
        assert all(map(torch.equal, phrases.batch(step, 0, 8, augmentation=Augmentation(3, 0.5)), batch))


def test_a_large_set_does_not_become_resident(tmp_path):
    """Of 90 MB, all of which is read twice, less than a quarter."""
    frame = np.zeros((256, SPEC.n_tracks, SPEC.steps_per_bar, SPEC.n_pitches), bool)
    frame[..., 5] = True
    part = bars_of(frame, frame, range(256), np.full(256, 120, np.float32))
    for i in range(2):
        pieces = [pack(f"{i} {j}", [part], SPEC, "keep") for j in range(800)]
        write_shard(tmp_path / f"shard-{i:05d}.safetensors", SPEC, pieces)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > 85e6

    def resident():
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss"))

    dataset = PackedDataset.open(tmp_path)
    starts = dataset.phrase_starts(4)[::4]
    Phrases(dataset, starts[:600], 4, normalize_key=True).batch(0, 0, 64)    # what is needed once
    before = resident()
    phrases = Phrases(dataset, starts, 4, normalize_key=True)
    for step in range(0, len(phrases) // 64, 4):
        phrases.batch(step, 0, 64)
    assert resident() - before < size / 4


def test_a_file_that_was_cut_short(path):
    dataset = PackedDataset.open(path)
    shard = path / "shard-00002.safetensors"
    with open(shard, "r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    with pytest.raises(DatasetError, match="shard-00002.safetensors has become shorter"):
        dataset.roll(torch.tensor([17]), 7)


def test_more_shards_than_a_process_may_open(path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(map(int, os.listdir("/proc/self/fd")))
    filled = [os.open(os.devnull, os.O_RDONLY)]    # the limit is one of numbers: none below it shall be free
    while filled[-1] <= last:
        filled.append(os.open(os.devnull, os.O_RDONLY))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 3, limits[1]))    # room for two, of three shards
        dataset = PackedDataset.open(path)
        assert dataset.roll(torch.tensor([17]), 7).frame.any()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > filled[-1] + 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for file in filled:
            os.close(file)


def test_another_process_opens_it_again(path):
    dataset = PackedDataset.open(path)
    function, arguments = dataset.__reduce__()
    again = function(*arguments)
    assert type(again) is PackedDataset and (again.n_bars, again.pieces) == (dataset.n_bars, dataset.pieces)
    (path / "shard-00002.safetensors").unlink()
    with pytest.raises(DatasetError, match="has changed since it was opened"):
        function(*arguments)
    for shard in path.iterdir():
        shard.unlink()
    with pytest.raises(DatasetError, match="is not a data set"):
        function(*arguments)
