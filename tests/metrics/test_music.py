"""Phrases as metrics see them, each view against a loop over the roll; and tallies."""

import pytest
import torch

from musegan.metrics.music import Music, Tally
from musegan.metrics.tracks import note_length, polyphony
from musegan.ops import pack, unpack
from musegan.roll import Roll, RollSpec
from tests.metrics.examples import DRUMS, PIANO, SPECS, drawn, music_of, random_music, random_voices

SPEC = RollSpec((DRUMS, PIANO))
C4 = 60
GRIDS = pytest.mark.parametrize("grid", SPECS)


def table(rows, shape=(-1, 5)):
    return torch.tensor(rows, dtype=torch.int64).view(shape)


@GRIDS
def test_notes_are_those_of_the_roll(grid):
    _, music = random_music(grid)
    found = [(n, k, start, pitch, end) for n, phrase in enumerate(random_voices(grid)) for k, voice in enumerate(phrase)
             for pitch, start, end in voice.notes]
    ours = torch.stack([music.sample, music.track, music.start, music.pitch, music.end], 1)
    assert torch.equal(ours, table(sorted(found)))    # by sample, track, start and pitch
    assert torch.equal(music.voice, music.sample * music.n_tracks + music.track)
    is_drum = [music.spec.tracks[k].is_drum for k in music.track.tolist()]
    assert music.pitched.tolist() == [not drum for drum in is_drum]


@GRIDS
def test_what_sounds_and_starts_is_that_of_a_loop(grid):
    _, music = random_music(grid)
    t = music.steps_per_bar
    nothing = torch.zeros(music.n, music.n_tracks, music.n_bars)
    polyphony, starts, pitches = (nothing[..., None].repeat(1, 1, 1, width) for width in (t, t, 128))
    sounds = nothing.clone()
    for n, phrase in enumerate(random_voices(grid)):
        for k, voice in enumerate(phrase):
            for b, bar in enumerate(voice.bars):
                for step, cells in enumerate(bar):
                    for p, cell in enumerate(cells):
                        if cell:
                            polyphony[n, k, b, step] += 1
                            sounds[n, k, b] = 1
                            pitches[n, k, b, p + music.spec.lowest_pitch] = 1
            for _, start, _ in voice.notes:
                starts[n, k, start // t, start % t] += 1
    assert torch.equal(music.polyphony, polyphony)
    assert torch.equal(music.starts, starts)
    assert torch.equal(music.sounds, sounds.bool())
    assert torch.equal(music.bar_pitches, pitches.bool())


@GRIDS
def test_chroma_of_beats_is_that_of_a_loop(grid):
    _, music = random_music(grid)
    chroma = torch.zeros(music.n, music.n_tracks, music.n_beats, 12)
    for n, phrase in enumerate(random_voices(grid)):
        for k, voice in enumerate(phrase):
            for step, cells in enumerate(voice.frame):
                for p, cell in enumerate(cells):
                    if cell and not voice.is_drum:
                        chroma[n, k, step // music.spec.steps_per_beat, (p + music.spec.lowest_pitch) % 12] += 1
    assert torch.equal(music.beat_chroma, chroma)
    classes = [sum(1 << c for c in range(12) if beat[c]) for beat in chroma.view(-1, 12).tolist()]
    assert music.beat_classes.flatten().tolist() == classes


@GRIDS
def test_start_bits_are_the_notes_starts(grid):
    roll, music = random_music(grid)
    started = torch.zeros(roll.frame.shape, dtype=torch.bool)
    for sample, track, pitch, start in zip(music.sample, music.track, music.pitch, music.start):
        bar, step = divmod(int(start), music.steps_per_bar)
        started[sample, track, bar, step, pitch - music.spec.lowest_pitch] = True
    assert torch.equal(torch.from_numpy(music.start_bits), pack(started))


@GRIDS
@pytest.mark.parametrize("width", ["beat", "bar", 1, 5])
def test_spans_cut_notes_and_lose_nothing(grid, width):
    _, music = random_music(grid)
    width = {"beat": music.spec.steps_per_beat, "bar": music.steps_per_bar}.get(width, width)
    expected = []
    for i, (start, end) in enumerate(zip(music.start.tolist(), music.end.tolist())):
        for window in range(start // width, (end - 1) // width + 1):
            inside = [step for step in range(start, end) if step // width == window]
            expected.append((i, window, len(inside)))
    assert torch.equal(torch.stack(music.spans(width), 1), table(expected, (-1, 3)))


def test_a_note_that_ends_on_a_line_is_not_behind_it():
    note, window, n_steps = music_of(SPEC, (1, C4, 12, 16), (1, C4, 16, 33), n_bars=3).spans(16)
    assert list(zip(note.tolist(), window.tolist(), n_steps.tolist())) == [(0, 0, 4), (1, 1, 16), (1, 2, 1)]


@GRIDS
def test_top_notes_are_the_highest_of_each_start(grid):
    _, music = random_music(grid)
    highest = {}
    for i, place in enumerate(zip(music.sample.tolist(), music.track.tolist(), music.start.tolist())):
        if place not in highest or music.pitch[i] > music.pitch[highest[place]]:
            highest[place] = i
    assert sorted(highest.values()) == music.top_notes.tolist()


@GRIDS
def test_steps_of_melody_go_on_within_a_pitched_track(grid):
    _, music = random_music(grid)
    expected, before = [], None
    for i in music.top_notes.tolist():
        if before is not None and music.voice[i] == music.voice[before] and not music.is_drum[music.track[i]]:
            expected.append((before, i))
        before = i
    assert torch.equal(torch.stack(music.steps_of_melody, 1), table(expected, (-1, 2)))


def test_a_melody_is_the_top_of_its_chords():
    chord = [(1, C4, 0, 8), (1, C4 + 7, 0, 8)]
    music = music_of(SPEC, (0, 38, 0, 1), (0, 38, 4, 5), *chord, (1, C4 + 2, 8, 12), (1, C4 - 5, 20, 24))
    first, second = music.steps_of_melody
    assert (music.pitch[second] - music.pitch[first]).tolist() == [-5, -7]    # across the bar line, and not of drums


def test_a_held_note_cut_at_the_phrase_start_is_a_start():
    roll = drawn(SPEC, (1, C4, 0, 6), (1, C4 + 4, 2, 4))
    roll.onset[0, 1, 0, 0] = False
    music = Music(roll, SPEC)
    assert list(zip(music.pitch.tolist(), music.start.tolist(), music.end.tolist())) == [(C4, 0, 6), (C4 + 4, 2, 4)]
    assert music.starts[0, 1, 0].nonzero().flatten().tolist() == [0, 2]
    assert unpack(torch.from_numpy(music.start_bits), 84)[0, 1, 0].nonzero().tolist() == [[0, C4 - 24], [2, C4 + 4 - 24]]


def test_a_note_struck_again_is_two_and_sounds_as_one():
    music = music_of(SPEC, (1, C4, 14, 18), (1, C4, 18, 20))
    assert music.start.tolist() == [14, 18]
    assert music.polyphony[0, 1].flatten().nonzero().flatten().tolist() == list(range(14, 20))
    assert music.polyphony.max() == 1


def test_c_is_class_0_whatever_the_lowest_pitch():
    for lowest in (0, 37, 55):
        spec = RollSpec((PIANO,), lowest_pitch=lowest, n_pitches=73)
        music = music_of(spec, (0, 60, 0, 3), (0, 72, 1, 2))
        assert music.beat_chroma[0, 0, 0].tolist() == [4] + 11 * [0]    # steps, of both octaves together
        assert music.beat_classes[0, 0].tolist() == [1] + 7 * [0]


def test_drums_have_no_chroma():
    music = music_of(SPEC, (0, 36, 0, 1))
    assert not music.beat_chroma.any() and not music.beat_classes.any()
    assert music.bar_pitches[0, 0, 0, 36] and music.sounds[0, 0, 0]


VIEWS = ("polyphony", "sounds", "starts", "bar_pitches", "beat_chroma", "beat_classes", "top_notes")


@GRIDS
def test_packed_rolls_are_the_same_music(grid):
    roll, music = random_music(grid)
    packed = Music(roll.map(pack), music.spec)
    for name in ("sample", "track", "pitch", "start", "end", *VIEWS):
        assert torch.equal(getattr(music, name), getattr(packed, name)), name
    assert (music.start_bits == packed.start_bits).all()
    assert all(torch.equal(a, b) for a, b in zip(music.roll, packed.roll))


def test_the_roll_is_kept_in_bits():
    roll, music = random_music("12 pitches from an odd one")
    assert music.roll.frame.dtype == torch.uint8 and music.roll.frame.shape[-1] == 2
    assert torch.equal(unpack(music.roll.frame, 12), roll.frame)
    assert torch.equal(unpack(music.roll.onset, 12), roll.onset)


def test_counting_does_not_change_the_roll():
    roll, _ = random_music("lpd5")
    packed = roll.map(pack)
    before = packed.map(torch.clone)
    music = Music(packed, SPECS["lpd5"])
    for name in (*VIEWS, "start_bits", "steps_of_melody"):
        getattr(music, name)
    assert all(torch.equal(a, b) for a, b in zip(packed, before))


@pytest.mark.parametrize("n, n_bars", [(0, 2), (3, 2), (3, 0), (0, 0)])
def test_silence_and_nothing_have_every_view(n, n_bars):
    music = Music(drawn(SPEC, n=n, n_bars=n_bars), SPEC)
    shapes = {"polyphony": (n, 2, n_bars, 16), "sounds": (n, 2, n_bars), "starts": (n, 2, n_bars, 16),
              "bar_pitches": (n, 2, n_bars, 128), "beat_chroma": (n, 2, 4 * n_bars, 12), "beat_classes": (n, 2, 4 * n_bars),
              "top_notes": (0,)}
    for name in VIEWS:
        assert getattr(music, name).shape == shapes[name], name
        assert not getattr(music, name).any()
    assert music.start_bits.shape == (n, 2, n_bars, 16, 11) and not music.start_bits.any()
    assert [len(part) for part in (*music.steps_of_melody, *music.spans(16))] == [0] * 5


def test_counts_adds_weights_up():
    music = music_of(SPEC, (0, 36, 0, 1), (1, C4, 0, 4), (1, C4 + 2, 4, 6))
    assert music.counts(music.voice).tolist() == [[1, 2]]
    assert music.counts(music.voice, weights=(music.end - music.start).double()).tolist() == [[1, 6]]
    assert music.counts(music.voice * 2 + 1, 2).tolist() == [[[0, 1], [0, 2]]]


def test_a_roll_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="n_pitches=84"):
        Music(drawn(SPECS["6/8"]), SPEC)
    roll = drawn(SPEC)
    roll.onset[0, 0, 0, 0, 0] = True
    with pytest.raises(ValueError, match="an onset must sound"):
        Music(roll, SPEC)


# Tallies

def test_a_value_is_a_mean_over_what_is_counted_not_over_phrases():
    tally = Tally(torch.tensor([[1.0], [30.0]]), torch.tensor([[1.0], [3.0]]))
    assert tally.value().tolist() == [31 / 4]
    assert tally.value().dtype == torch.float64


@pytest.mark.parametrize("metric", [note_length, polyphony])
def test_weights_select_without_counting_anew(metric):
    roll, music = random_music("lpd5")
    tally = metric(music)
    drawn_phrases = torch.tensor([3, 0, 0, 2, 3, 3])
    weights = torch.bincount(drawn_phrases, minlength=music.n)
    anew = metric(Music(Roll(*(plane[drawn_phrases] for plane in roll)), music.spec)).value()
    torch.testing.assert_close(tally.value(weights), anew, rtol=1e-6, atol=0, equal_nan=True)
    assert not torch.equal(anew.nan_to_num(), tally.value().nan_to_num())


def test_many_selections_at_once_are_each_alone():
    tally = polyphony(random_music("lpd5")[1])
    weights = torch.randint(0, 3, (7, len(tally.total)), generator=torch.Generator().manual_seed(0))
    together = tally.value(weights)
    assert together.shape == (7, 5)
    for row, alone in zip(together, weights):
        torch.testing.assert_close(row, tally.value(alone), equal_nan=True)
    torch.testing.assert_close(tally.value(torch.ones(len(tally.total))), tally.value(), equal_nan=True)


def test_what_was_not_counted_is_not_a_number():
    tally = Tally(torch.tensor([[0.0, 2.0], [0.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    assert tally.value().isnan().tolist() == [True, False]
    assert tally.value(torch.zeros(2)).isnan().all()
    assert tally.value(torch.tensor([1, 0])).tolist()[1] == 2
    assert Tally(torch.zeros(0, 2), torch.zeros(0, 2)).value().isnan().all()
