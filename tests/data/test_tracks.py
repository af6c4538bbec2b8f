"""Which source track feeds which track of a roll."""

import pytest

from musegan.data.midi import read_midi
from musegan.data.tracks import FAMILIES, PRESETS, TrackError, assign
from musegan.roll import PRESETS as TRACKS
from tests.data.songs import midi, scale

LPD5 = [
    (range(0, 24), "piano"),
    (range(24, 32), "guitar"),
    (range(32, 40), "bass"),
    (range(40, 96), "strings"),
    (range(96, 128), None),
]


def song(*tracks):
    return read_midi(midi([(program, is_drum, scale(1)) for program, is_drum in tracks]), 24)


@pytest.mark.parametrize("program", range(128))
def test_lpd5_programs(program):
    preset = PRESETS["lpd5"]
    sources, dropped = assign(song((program, False)), preset)
    fed = [track.name for track, source in zip(preset.tracks, sources) if source]
    wanted = next(name for programs, name in LPD5 if program in programs)
    assert fed == ([wanted] if wanted else [])
    assert [name for name, _ in dropped] == ([] if wanted else [FAMILIES[program // 8]])


def test_lpd5_drums_by_channel_whatever_the_program():
    sources, dropped = assign(song((33, True), (0, False), (0, True)), PRESETS["lpd5"])
    assert [len(source) for source in sources] == [2, 1, 0, 0, 0] and not dropped


def test_satb_takes_the_first_four_pitched_tracks_in_order():
    multitrack = song((0, True), (73, False), (71, False), (60, False), (70, False), (48, False))
    sources, dropped = assign(multitrack, PRESETS["satb"])
    assert [source[0].program for source in sources] == [73, 71, 60, 70]
    assert sorted(name for name, _ in dropped) == ["beyond the 4 voices", "drums"]


def test_satb_needs_four():
    with pytest.raises(TrackError, match="has 3 pitched tracks with notes, not 4"):
        assign(song((73, False), (71, False), (60, False), (0, True)), PRESETS["satb"])


def test_presets_are_those_of_the_vocabulary():
    assert {name: preset.tracks for name, preset in PRESETS.items()} == TRACKS
    assert set(PRESETS["lpd5"].families) == {track.name for track in TRACKS["lpd5"]}
