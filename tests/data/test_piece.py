"""A file as one roll: every bar, the file's tempo, and which of its tracks go where."""

import numpy as np
import pytest
import symusic
import torch

from musegan.data.events import SongError
from musegan.data.piece import read_pieces
from musegan.data.sources import Source
from musegan.export import write_midi, write_npz
from musegan.roll import PRESETS, RollSpec
from tests.models.test_layout import random_roll

SPEC = RollSpec(PRESETS["lpd5"])
NAMES = [track.name for track in SPEC.tracks]


def midi(path, tracks, signatures=((0, 4, 4),), tempos=((0, 120.0),)):
    """Tracks as (name, program, is_drum, [(start in quarters, length, pitch)])."""
    score = symusic.Score(480)
    for time, bpm in tempos:
        score.tempos.append(symusic.Tempo(time * 480, bpm))
    for time, numerator, denominator in signatures:
        score.time_signatures.append(symusic.TimeSignature(time * 480, numerator, denominator))
    for name, program, is_drum, notes in tracks:
        part = symusic.Track(name, program, is_drum)
        for start, length, pitch in notes:
            part.notes.append(symusic.Note(int(start * 480), int(length * 480), pitch, 90))
        score.tracks.append(part)
    score.dump_midi(path)
    return Source(path.name, str(path))


def pieces(source, **options):
    return list(read_pieces(source, SPEC, **options))


@pytest.mark.parametrize("write, ending", [(write_midi, "mid"), (write_npz, "npz")])
def test_what_was_written_is_read(tmp_path, write, ending):
    (phrase,) = random_roll(SPEC, n=1, bars=5, density=0.02).phrases()
    write(tmp_path / f"a.{ending}", phrase, SPEC, 97.0)
    (piece,) = pieces(Source("a", str(tmp_path / f"a.{ending}")))
    assert piece.roll.frame.shape == (1, 5, 5, 16, 84) and piece.first_bar == 0
    assert torch.equal(piece.roll.frame[0], phrase.frame)
    assert piece.tempo_bpm == pytest.approx(np.full(5, 97), abs=0.01)
    assert piece.places == {name: name for name in NAMES} and piece.sounding.all()


def test_bars_before_the_first_note_are_counted_and_tempos_kept(tmp_path):
    source = midi(tmp_path / "a.mid", [("x", 33, False, [(9, 1, 40), (18, 1, 41)])], tempos=((0, 100.0), (16, 150.0)))
    (piece,) = pieces(source)
    assert (piece.first_bar, piece.roll.frame.shape[2]) == (2, 3)
    assert piece.tempo_bpm == pytest.approx([100, 100, 150], abs=0.01)
    assert piece.places == {"x": "bass"} and piece.sounding.tolist() == [name == "bass" for name in NAMES]
    assert piece.roll.frame[0, 3, 0, 4:8, 40 - 24].all()


def test_tracks_go_by_instrument_by_name_or_as_told(tmp_path):
    notes = [(0, 1, 60), (1, 1, 4)]
    source = midi(tmp_path / "a.mid", [("lead", 80, False, notes), ("", 3, False, notes), ("odd", 115, False, notes)])
    (piece,) = pieces(source)
    assert piece.places == {"lead": "strings", "program 3": "piano", "odd": None} and piece.n_out_of_range == 2
    (as_drums,) = pieces(source, as_track="drums")
    assert as_drums.sounding.tolist() == [True] + [False] * 4
    assert torch.equal(as_drums.roll.frame, as_drums.roll.onset)
    named = midi(tmp_path / "b.mid", [("Guitar", 0, False, notes), ("piano", 25, False, notes)])
    assert pieces(named)[0].places == {"Guitar": "guitar", "piano": "piano"}


@pytest.mark.parametrize("names, places", [
    (["strings"], {"lead": "strings", "keys": None}),
    (["strings", "piano"], {"lead": "strings", "keys": "piano"}),
    (["guitar"], None),
])
def test_some_tracks_of_a_preset_are_fed_as_by_all_of_it(names, places, tmp_path):
    notes = [(0, 1, 60), (1, 1, 64)]
    source = midi(tmp_path / "a.mid", [("lead", 80, False, notes), ("keys", 3, False, notes)])
    spec = RollSpec(tuple(SPEC.tracks[NAMES.index(name)] for name in names))
    if places is None:
        with pytest.raises(SongError, match="none of its notes is for one of the tracks guitar: it has lead, keys"):
            list(read_pieces(source, spec))
    else:
        assert [piece.places for piece in read_pieces(source, spec)] == [places]


def test_another_metre_is_named(tmp_path):
    notes = [("bass", 33, False, [(k, 1, 40) for k in range(24)])]
    with pytest.raises(SongError, match="bars 1 to 8 have 3 quarter notes in a bar, not 4: the model's metre is 4/4"):
        pieces(midi(tmp_path / "a.mid", notes, ((0, 3, 4),)))
    with pytest.raises(SongError, match="bars 3 to 4 have 3 quarter notes in a bar"):
        pieces(midi(tmp_path / "b.mid", notes, ((0, 4, 4), (8, 3, 4), (14, 4, 4))))
    with pytest.raises(SongError, match="bars 3 to 8 have 3 quarter notes in a bar"):    # half of the song, at its end
        pieces(midi(tmp_path / "b.mid", notes, ((0, 4, 4), (8, 3, 4))))
    with pytest.raises(SongError, match="bars 1 to 2 have 3 quarter notes in a bar"):
        pieces(midi(tmp_path / "b.mid", notes, ((0, 3, 4), (6, 4, 4))))
    (piece,) = pieces(midi(tmp_path / "c.mid", notes, ((0, 1, 4), (1, 4, 4))))    # a pick-up is left out
    assert (piece.first_bar, piece.roll.frame.shape[2]) == (1, 6)
    assert piece.left_out == (("1 quarter note in a bar, not 4", 1, 1),)


def test_what_is_for_no_track(tmp_path):
    source = midi(tmp_path / "a.mid", [("odd", 115, False, [(0, 1, 60)])])
    with pytest.raises(SongError,
                       match="none of its notes is for one of the tracks drums, piano, guitar, bass, strings: it has odd"):
        pieces(source)
    assert pieces(source, as_track="bass")[0].places == {"bass": "bass"}
    too_low = midi(tmp_path / "b.mid", [("bass", 33, False, [(0, 1, 12)])])
    with pytest.raises(SongError, match="its notes lie outside the model's pitches, 24 to 107"):
        pieces(too_low)
