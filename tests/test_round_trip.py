"""Real phrases, out to MIDI with the exporter and in again with `prepare`: the same notes."""

import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.export import write_midi
from musegan.ops.notes import notes


def test_data_set_to_midi_to_data_set(songs, tmp_path):
    starts = songs.phrase_starts(2)[::40]
    roll = songs.roll(starts, 2)
    sounds = roll.frame.flatten(3).any(3).any(1).all(1)    # prepare cuts silent bars at the ends
    starts, roll = starts[sounds], roll.map(lambda plane: plane[sounds])
    assert len(starts) > 8
    (tmp_path / "midi").mkdir()
    for i, phrase in enumerate(roll.phrases()):
        write_midi(tmp_path / "midi" / f"{i:03d}.mid", phrase, songs.spec, tempo_bpm=90 + i)
    prepare([tmp_path / "midi"], tmp_path / "again", Rules(PRESETS["lpd5"]))
    again = PackedDataset.open(tmp_path / "again")
    back = again.roll(again.phrase_starts(2), 2)
    kept = torch.tensor([int(name.split(".")[0]) for name in again.pieces])    # the same music twice is left out
    assert torch.equal(notes(back), notes(roll.map(lambda plane: plane[kept])))
    assert again.tempo_bpm[again.phrase_starts(2)].tolist() == pytest.approx((90 + kept).tolist(), abs=0.01)
