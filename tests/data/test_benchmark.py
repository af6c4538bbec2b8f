"""The benchmark of the loader: its data set, equal results first, a line for each way."""

import json

import pytest
import torch

from benchmarks.data import loader
from benchmarks.data.repeated import write_repeated
from musegan.data.dataset import PackedDataset


@pytest.mark.parametrize("apart", [False, True])
def test_the_music_comes_again_in_other_keys(songs, songs_folder, tmp_path, apart):
    n_phrases = len(songs.phrase_starts(4))
    write_repeated(tmp_path, songs_folder, 2 * n_phrases + 1, 4, apart)
    repeated = PackedDataset.open(tmp_path)
    starts = repeated.phrase_starts(4)
    assert repeated.spec == songs.spec and 2 * n_phrases < len(starts) < 4 * n_phrases
    if apart:
        assert repeated.n_bars == 4 * len(starts)
    for copy, semitones in ((0, 0), (1, 1)):
        ours = repeated.roll(starts[copy * n_phrases : (copy + 1) * n_phrases], 4)
        theirs = songs.roll(songs.phrase_starts(4), 4, torch.full((n_phrases,), semitones))
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.exhaustive
def test_a_trial_run(songs_folder, tmp_path, capsys):
    threads = torch.get_num_threads()
    out = tmp_path / "loader.jsonl"
    try:
        for options in ([], ["--apart"], []):    # lines of the same data are replaced
            loader.main(["--quick", "--music", str(songs_folder), "--out", str(out), *options])
    finally:
        torch.set_num_threads(threads)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["data"] for line in lines] == ["phrases apart"] * (len(lines) // 2) + ["songs"] * (len(lines) // 2)
    assert list(dict.fromkeys(line["case"] for line in lines)) == [
        "disk", "open", "know its phrases", "batch", "load", "resident memory over imports"]
    for line in lines:
        assert line["value"] > 0 and line["unit"] in ("bytes", "ms", "s", "phrases/s") and line["cpu"]
        assert line["way"] != line.get("rival") or line["speed_up"] == 1
    assert "speed-up" in capsys.readouterr().out


def test_unequal_batches_stop_the_benchmark(songs_folder, monkeypatch):
    threads, moves = torch.get_num_threads(), loader._moves
    monkeypatch.setattr(loader, "_moves", lambda step: moves(step + 1))
    try:
        with pytest.raises(AssertionError, match="numpy's batch differs"):
            loader.main(["--quick", "--music", str(songs_folder)])
    finally:
        torch.set_num_threads(threads)
