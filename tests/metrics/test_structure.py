"""What music does over time: each metric against a loop written from its definition, and what it means in music."""

import pytest
import torch

from musegan.metrics import structure
from musegan.metrics.music import Music, Tally
from musegan.ops import pack
from musegan.roll import Roll, RollSpec
from tests.metrics.examples import (
    BASS, DRUMS, PIANO, SPECS, drawn, music_of, random_music, random_roll, random_voices, voices,
)    # fmt: skip

SPEC = RollSpec((DRUMS, PIANO))
C4 = 60
KICK, SNARE = 36, 38
LONG = ("3/4", "6/8", "7/8, a step each", "12 pitches from an odd one")    # grids that are tried with ten bars too


def shuffled_leap(music):
    return structure.leap_at_bar_lines(music, shuffled=True)


METRICS = {"groove_consistency": structure.groove_consistency, "held_over_rate": structure.held_over_rate,
           "leap_at_bar_lines": structure.leap_at_bar_lines, "shuffled leap_at_bar_lines": shuffled_leap,
           "leap_within_bars": structure.leap_within_bars}
METRICS |= {f"self_similarity {lag}": lambda music, lag=lag: structure.self_similarity(music, lag) for lag in structure.LAGS}
NO_DRUMS = {"held_over_rate", "leap_at_bar_lines", "shuffled leap_at_bar_lines", "leap_within_bars"}
ALL = pytest.mark.parametrize("name", METRICS)


# Loops from the definitions: of one voice, what its phrase adds to total and count.

def starts_by_bar(voice):
    """For each bar, the step in it and the pitch of each note that starts."""
    width = voice.spec.steps_per_bar
    return [{(start % width, pitch) for pitch, start, _ in voice.notes if start // width == bar}
            for bar in range(len(voice.bars))]


def loop_bar_similarity(voice, lag):
    found = []
    bars = starts_by_bar(voice)
    for here, there in zip(bars, bars[lag:]):
        found.append(len(here & there) / len(here | there) if here or there else None)
    return found


def loop_self_similarity(voice, lag):
    found = [similarity for similarity in loop_bar_similarity(voice, lag) if similarity is not None]
    return sum(found), len(found)


def loop_groove_consistency(voice):
    rhythms = [{step for step, _ in bar} for bar in starts_by_bar(voice)]
    total = count = 0
    for here, there in zip(rhythms, rhythms[1:]):
        if here or there:
            total += sum((t in here) == (t in there) for t in range(voice.spec.steps_per_bar)) / voice.spec.steps_per_bar
            count += 1
    return total, count


def loop_held_over_rate(voice):
    sounds = [any(any(step) for step in bar) for bar in voice.bars]
    total = count = 0
    for bar in range(1, len(voice.bars)):
        line = bar * voice.spec.steps_per_bar
        if sounds[bar - 1] and sounds[bar]:
            total += any(start < line < end for _, start, end in voice.notes)
            count += 1
    return total, count


def skyline(voice):
    """For each bar, the pitches of its skyline notes in order: the highest of those that start together."""
    return [[max(pitch for at, pitch in bar if at == step) for step in sorted({step for step, _ in bar})]
            for bar in starts_by_bar(voice)]


def loop_leap_at_bar_lines(voice, shuffled=False):
    bars = skyline(voice)
    total = count = 0
    for i, here in enumerate(bars):
        for j, there in enumerate(bars):
            if (j not in (i, i + 1) if shuffled else j == i + 1) and here and there:
                total += abs(there[0] - here[-1])
                count += 1
    return total, count


def loop_leap_within_bars(voice):
    leaps = [abs(b - a) for bar in skyline(voice) for a, b in zip(bar, bar[1:])]
    return sum(leaps), len(leaps)


def loop_of(name):
    if name.startswith("self_similarity"):
        return lambda voice: loop_self_similarity(voice, int(name.split()[1]))
    if name.startswith("shuffled"):
        return lambda voice: loop_leap_at_bar_lines(voice, shuffled=True)
    return globals()[f"loop_{name}"]


def assert_is_the_loops(name, music, phrases):
    loop = loop_of(name)
    rows = [[(0, 0) if voice.is_drum and name in NO_DRUMS else loop(voice) for voice in phrase] for phrase in phrases]
    theirs = torch.tensor(rows, dtype=torch.float64)
    ours = METRICS[name](music)
    assert ours.total.dtype == ours.count.dtype == torch.float32
    assert torch.equal(ours.count.double(), theirs[..., 1])
    torch.testing.assert_close(ours.total.double(), theirs[..., 0], rtol=1e-6, atol=1e-6)


@ALL
@pytest.mark.parametrize("grid", SPECS)
def test_each_phrase_adds_what_a_loop_counts(name, grid):
    assert_is_the_loops(name, random_music(grid)[1], random_voices(grid))


@pytest.fixture(scope="module")
def ten_bars():
    """Music and voices of phrases of ten bars by grid, some of whose bars come back."""
    found = {}
    for grid in LONG:
        roll = random_roll(SPECS[grid], n=4, n_bars=10, seed=3)
        roll = roll.map(lambda plane: plane[:, :, [0, 1, 1, 3, 0, 1, 0, 0, 0, 2]])
        found[grid] = Music(roll, SPECS[grid]), voices(roll, SPECS[grid])
    return found


@ALL
@pytest.mark.parametrize("grid", LONG)
def test_ten_bars_add_what_a_loop_counts(name, grid, ten_bars):
    assert_is_the_loops(name, *ten_bars[grid])


@ALL
def test_random_phrases_differ_in_what_a_loop_sees(name, ten_bars):
    """Or the comparisons above would prove little."""
    total, count = METRICS[name](ten_bars["6/8"][0])
    assert len(total.sum(1).unique()) >= 2 and (total != count).any() and (total > 0).any()


@pytest.mark.parametrize("lag", [1, 2, 3, 9, 10, 20])
def test_similarity_of_bars_is_that_of_a_loop(lag, ten_bars):
    music, phrases = ten_bars["6/8"]
    similarity, counts = structure.bar_similarity(music, lag)
    assert similarity.shape == counts.shape == (4, 2, max(10 - lag, 0)) and counts.dtype == torch.bool
    for n, phrase in enumerate(phrases):
        for k, voice in enumerate(phrase):
            for i, expected in enumerate(loop_bar_similarity(voice, lag)):
                assert counts[n, k, i] == (expected is not None)
                assert similarity[n, k, i] == pytest.approx(expected or 0)


@ALL
def test_packed_rolls_give_the_same(name):
    roll, music = random_music("6/8")
    for a, b in zip(METRICS[name](music), METRICS[name](Music(roll.map(pack), music.spec))):
        assert torch.equal(a, b)


@ALL
def test_a_phrase_counts_the_same_in_any_company(name):
    roll, music = random_music("lpd5")
    whole = METRICS[name](music)
    for i in range(music.n):
        alone = METRICS[name](Music(roll.map(lambda plane: plane[i : i + 1]), music.spec))
        assert torch.equal(alone.total[0], whole.total[i]) and torch.equal(alone.count[0], whole.count[i])


@ALL
@pytest.mark.parametrize("n, n_bars", [(0, 4), (2, 4), (2, 1), (2, 0)])
def test_silence_and_nothing_have_no_value(name, n, n_bars):
    tally = METRICS[name](Music(drawn(SPEC, n=n, n_bars=n_bars), SPEC))
    assert tally.total.shape == tally.count.shape == (n, 2)
    assert tally.value().isnan().all()


@ALL
def test_one_bar_has_no_bar_line(name):
    notes = [(0, KICK, 0, 1), (0, SNARE, 4, 5), (1, C4, 0, 4), (1, C4 + 3, 4, 16)]
    value = METRICS[name](music_of(SPEC, *notes, n_bars=1)).value()
    assert value.isnan().tolist() == [True, name != "leap_within_bars"]


@ALL
def test_drums_repeat_but_do_not_leap(name):
    bar = [(KICK, 0, 1), (SNARE, 4, 5), (KICK, 14, 15)]
    notes = [(track, pitch, start + 16 * b, end + 16 * b) for b in range(9) for track in (0, 1) for pitch, start, end in bar]
    value = METRICS[name](music_of(SPEC, *notes, n_bars=9)).value()
    assert value.isnan().tolist() == [name in NO_DRUMS, False]
    if name not in NO_DRUMS:
        assert value.tolist() == [1, 1]    # bars that are repeated


@ALL
@pytest.mark.parametrize("semitones", [-7, 1, 12])
def test_transposition_changes_nothing(name, semitones):
    notes = [(1, C4, 0, 4), (1, C4 + 4, 12, 20), (1, C4 + 12, 24, 28), (1, C4 + 7, 33, 34), (1, C4 + 7, 33, 60)]
    moved = [(track, pitch + semitones, start, end) for track, pitch, start, end in notes]
    a, b = METRICS[name](music_of(SPEC, *notes, n_bars=4)), METRICS[name](music_of(SPEC, *moved, n_bars=4))
    assert torch.equal(a.total, b.total) and torch.equal(a.count, b.count)


# Bars that come back

def bars(*names, kinds):
    """Notes of the piano, bar by bar, from the pitches and steps that each letter stands for."""
    return [(1, pitch, 16 * b + step, 16 * b + step + 1) for b, name in enumerate(names) for pitch, step in kinds[name]]


KINDS = {"A": [(C4, 0), (C4 + 4, 4), (C4 + 7, 8)], "B": [(C4 + 5, 2), (C4 + 9, 6)], "a": [(C4, 0), (C4 + 4, 4), (C4 + 9, 8)],
         "-": []}    # fmt: skip


def similarity_of(form, lag):
    return structure.self_similarity(music_of(SPEC, *bars(*form, kinds=KINDS), n_bars=len(form)), lag).value()[1].item()


def test_aaba():
    assert similarity_of("AABA", 1) == pytest.approx(1 / 3)    # AA, AB, BA
    assert similarity_of("AABA", 2) == pytest.approx(1 / 2)    # AB, AA
    assert similarity_of("ABABABAB", 2) == similarity_of("ABABABAB", 4) == 1
    assert similarity_of("ABABABAB", 1) == 0
    assert similarity_of("ABABABABA", 8) == 1


def test_a_varied_bar_is_half_alike():
    assert similarity_of("Aa", 1) == pytest.approx(2 / 4)    # two shared starts of four


def test_silent_pairs_are_left_out_and_silence_is_not_like_music():
    assert similarity_of("AA--", 1) == pytest.approx(1 / 2)    # AA, and A-; the last pair has nothing
    assert structure.groove_consistency(music_of(SPEC, *bars(*"AA--", kinds=KINDS), n_bars=4)).count[0, 1] == 2


def test_how_long_a_note_is_held_does_not_matter_and_its_pitch_does():
    short = [(1, C4, 0, 1), (1, C4, 16, 24)]
    other = [(1, C4, 0, 1), (1, C4 + 1, 16, 24)]
    assert structure.self_similarity(music_of(SPEC, *short), 1).value()[1] == 1
    assert structure.self_similarity(music_of(SPEC, *other), 1).value()[1] == 0
    assert structure.groove_consistency(music_of(SPEC, *other)).value()[1] == 1


def test_groove_counts_the_steps_that_differ():
    notes = [(0, KICK, 0, 1), (0, SNARE, 4, 5), (0, KICK, 8, 9), (0, SNARE, 12, 13)]
    notes += [(0, KICK, 16, 17), (0, KICK, 18, 19), (0, SNARE, 20, 21), (0, KICK, 24, 25)]    # one more, one less
    assert structure.groove_consistency(music_of(SPEC, *notes)).value()[0] == 14 / 16


# Bar lines

def test_a_held_note_is_held_and_no_start():
    held = music_of(SPEC, (1, C4, 12, 20), (1, C4 + 2, 24, 28))
    assert structure.held_over_rate(held).value()[1] == 1
    assert structure.leap_at_bar_lines(held).value()[1] == 2    # to the first note that starts, not to the held one
    assert structure.self_similarity(held, 1).value()[1] == 0


def test_a_note_that_ends_at_the_line_or_is_struck_there_is_not_held():
    ends = music_of(SPEC, (1, C4, 12, 16), (1, C4, 16, 20))
    assert structure.held_over_rate(ends).value()[1] == 0
    assert structure.leap_at_bar_lines(ends).value()[1] == 0
    assert structure.held_over_rate(music_of(SPEC, (1, C4, 12, 17))).value()[1] == 1


def test_a_line_beside_silence_does_not_count():
    music = music_of(SPEC, (1, C4, 0, 16), (1, C4, 32, 52), (1, C4, 60, 64), n_bars=4)
    assert structure.held_over_rate(music).count[0, 1] == 1    # the last of three lines
    assert structure.held_over_rate(music).value()[1] == 1


def test_a_note_over_several_bars_is_held_at_each_line():
    total, count = structure.held_over_rate(music_of(SPEC, (1, C4, 3, 40), n_bars=3))
    assert (total[0, 1], count[0, 1]) == (2, 2)


def test_a_leap_is_from_the_last_skyline_note_to_the_first():
    bar = [(1, C4 + 30, 0, 1), (1, C4, 8, 16), (1, C4 - 12, 8, 16)]
    following = [(1, C4 + 5, 18, 20), (1, C4 - 20, 18, 20), (1, C4 + 40, 28, 30)]
    assert structure.leap_at_bar_lines(music_of(SPEC, *bar, *following)).value()[1] == 5
    assert structure.leap_within_bars(music_of(SPEC, *bar, *following)).value()[1] == (30 + 35) / 2


def test_leaps_are_of_single_tracks():
    spec = RollSpec((PIANO, BASS))
    music = music_of(spec, (0, C4, 0, 4), (0, C4 + 1, 16, 20), (1, C4 - 24, 0, 4), (1, C4 - 22, 16, 20))
    assert structure.leap_at_bar_lines(music).value().tolist() == [1, 2]


def test_the_shuffled_leap_goes_to_every_other_bar():
    notes = [(1, C4 + pitch, 16 * b, 16 * b + 4) for b, pitch in enumerate((0, 1, 10))]
    music = music_of(SPEC, *notes, n_bars=3)
    assert structure.leap_at_bar_lines(music).value()[1] == (1 + 9) / 2
    assert shuffled_leap(music).value()[1] == pytest.approx((10 + 1 + 10 + 9) / 4)    # 1-3, 2-1, 3-1, 3-2


def test_the_lowest_midi_pitch_is_a_note():
    spec = SPECS["all MIDI"]
    music = music_of(spec, (0, 0, 0, 4), (0, 7, 16, 20), (0, 0, 32, 36), n_bars=3)
    assert structure.leap_at_bar_lines(music).value()[0] == 7
    assert structure.leap_at_bar_lines(music).count[0, 0] == 2


# Real music

@pytest.fixture(scope="module")
def real(songs):
    """Six phrases of eight bars of each song: as they are, and with their bars in another order."""
    starts = songs.phrase_starts(8)
    of = songs.piece_of(starts)
    own = [starts[of == piece] for piece in range(len(songs.pieces))]
    roll = songs.roll(torch.cat([rows[torch.linspace(0, len(rows) - 1, 6).long()] for rows in own]), 8)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(8, generator=generator) for _ in range(len(roll.frame))]
    mixed = roll.map(lambda plane: torch.stack([phrase[:, order] for phrase, order in zip(plane, orders)]))
    return Music(roll, songs.spec), Music(mixed, songs.spec)


def test_real_bars_go_on_from_each_other_and_shuffled_ones_do_not(real):
    own, mixed = ((structure.leap_at_bar_lines(m).value() / shuffled_leap(m).value())[2:] for m in real)
    assert (own < 0.85).all()    # the piano, which is left out, plays few bars
    assert (mixed > 0.88).all() and (mixed < 1.15).all() and (own * 1.15 < mixed).all()


def test_shuffling_bars_changes_what_happens_between_them_and_not_within(real):
    own, mixed = real
    assert structure.groove_consistency(own).value().nanmean() > structure.groove_consistency(mixed).value().nanmean()
    assert structure.held_over_rate(own).value().nanmean() > structure.held_over_rate(mixed).value().nanmean()
    torch.testing.assert_close(structure.leap_within_bars(own).value(), structure.leap_within_bars(mixed).value(),
                               rtol=0.1, atol=0, equal_nan=True)


def test_real_music_repeats_itself_in_even_numbers_of_bars(real):
    own, mixed = ({lag: structure.self_similarity(m, lag).value().mean() for lag in structure.LAGS} for m in real)
    assert own[2] > mixed[2] and own[4] > mixed[4]
    assert own[4] > structure.self_similarity(real[0], 3).value().mean()


def test_weights_choose_phrases(real):
    """As a bootstrap does: the value of a phrase taken twice is that of both."""
    tally = structure.self_similarity(real[0], 1)
    weights = torch.zeros(len(tally.total))
    weights[[0, 7]] = torch.tensor([2.0, 1.0])
    chosen = Roll(*(plane[[0, 0, 7]] for plane in real[0].roll))
    anew = structure.self_similarity(Music(chosen, real[0].spec), 1)
    assert isinstance(anew, Tally)
    torch.testing.assert_close(tally.value(weights), anew.value(), equal_nan=True)
