"""Data sets that know their folder: opened again, and read from their place in the files."""

import numpy as np
import pytest
import torch

from musegan.data import folder
from musegan.data.bars import Bars
from musegan.data.folder import FolderDataset
from musegan.data.packed import DatasetError, PackedDataset, pack, write_shard
from musegan.data.phrases import Augmentation, Phrases
from tests.data.test_phrases import SPEC, bars


@pytest.fixture
def path(tmp_path):
    """Three shards of 12, 5 and 7 bars."""
    for i, n_bars in enumerate((12, 5, 7)):
        write_shard(tmp_path / f"shard-{i:05d}.safetensors", SPEC, [pack(str(i), bars(range(n_bars), i))])
    return tmp_path


def packed(dataset, plane):
    return torch.cat([getattr(shard, plane) for shard in dataset._shards])


@pytest.mark.parametrize("plane", ["frame", "onset"])
@pytest.mark.parametrize("starts", [
    [], [3], [0, 1, 2], [23, 0, 11, 12, 13, 16, 17, 18], list(range(24)), [5, 5, 6, 5],
])
def test_bars_are_those_of_the_map(path, plane, starts):
    dataset = FolderDataset.open(path)
    expected = packed(dataset, plane)[starts]
    assert torch.equal(dataset.read_bars(plane, torch.tensor(starts, dtype=torch.int64), 1), expected)


def test_phrases_are_those_of_the_map(path):
    dataset = FolderDataset.open(path)
    starts = torch.tensor([9, 0, 3, 6, 9, 12, 14, 17, 20, 21])    # some follow each other, also into the next shard
    place = (starts[:, None] + torch.arange(3)).flatten()
    assert torch.equal(dataset.read_bars("onset", starts, 3), packed(dataset, "onset")[place])


def test_large_and_small_sets_give_the_same(path, monkeypatch):
    small = FolderDataset.open(path)
    starts = small.phrase_starts(3)
    assert not small.is_large
    expected = Phrases(small, starts, 3, normalize_key=True)
    batches = [expected.batch(step, 0, 8, augmentation=Augmentation(3, 0.5)) for step in range(4)]
    monkeypatch.setattr(folder, "MAX_MAPPED_BYTES", 0)
    monkeypatch.setattr(PackedDataset, "roll", None)
    large = FolderDataset.open(path)
    assert large.is_large
    large._shards = [shard._replace(frame=None, onset=None) for shard in large._shards]    # never asked
    phrases = Phrases(large, starts, 3, normalize_key=True)
    assert phrases.fingerprint() == expected.fingerprint()
    for step, batch in enumerate(batches):
        assert all(map(torch.equal, phrases.batch(step, 0, 8, augmentation=Augmentation(3, 0.5)), batch))


def test_a_large_set_does_not_become_resident(tmp_path):
    """Of 90 MB, all of which is read twice, less than a quarter."""
    frame = np.zeros((256, SPEC.n_tracks, SPEC.steps_per_bar, SPEC.n_pitches), bool)
    frame[..., 5] = True
    piece = pack("a", Bars(frame, frame, np.full(256, 120, np.float32), np.arange(256)))
    for i in range(2):
        write_shard(tmp_path / f"shard-{i:05d}.safetensors", SPEC, [piece._replace(name=f"{i} {j}") for j in range(800)])
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > 85e6

    def resident():
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss"))

    dataset = FolderDataset.open(tmp_path)
    starts = dataset.phrase_starts(4)[::4]
    Phrases(dataset, starts[:600], 4, normalize_key=True).batch(0, 0, 64)    # what is needed once
    before = resident()
    phrases = Phrases(dataset, starts, 4, normalize_key=True)
    for step in range(0, len(phrases) // 64, 4):
        phrases.batch(step, 0, 64)
    assert resident() - before < size / 4


def test_a_file_that_was_cut_short(path):
    dataset = FolderDataset.open(path)
    shard = path / "shard-00002.safetensors"
    with open(shard, "r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    with pytest.raises(DatasetError, match="shard-00002.safetensors has become shorter"):
        dataset.read_bars("onset", torch.tensor([17]), 7), dataset.read_bars("frame", torch.tensor([17]), 7)


def test_another_process_opens_it_again(path):
    dataset = FolderDataset.open(path)
    function, arguments = dataset.__reduce__()
    again = function(*arguments)
    assert type(again) is FolderDataset and (again.n_bars, again.pieces) == (dataset.n_bars, dataset.pieces)
    (path / "shard-00002.safetensors").unlink()
    with pytest.raises(DatasetError, match="has changed since it was opened"):
        function(*arguments)
    for shard in path.iterdir():
        shard.unlink()
    with pytest.raises(DatasetError, match="is not a data set"):
        function(*arguments)
