"""What tracks do together: each metric against loops written from its definition, and what it means in music."""

import itertools
import math

import pytest
import torch

from musegan.metrics import pairs
from musegan.metrics.music import Music, Tally
from musegan.ops import pack
from musegan.roll import PRESETS, Roll, RollSpec
from tests.metrics.examples import BASS, DRUMS, PIANO, SPECS, drawn, music_of, random_music, random_voices

LPD5 = RollSpec(PRESETS["lpd5"])    # drums, piano, guitar, bass, strings
TRIO = RollSpec((DRUMS, PIANO, BASS))
C4 = 60
TRIADS = {"major": (4, 3), "minor": (3, 4), "diminished": (3, 3), "augmented": (4, 4)}    # thirds on the root
GRIDS = pytest.mark.parametrize("grid", SPECS)


def shuffled_distance(music):
    return pairs.tonal_distance(music, shuffled=True)


METRICS = {"tonal_distance": pairs.tonal_distance, "shuffled tonal_distance": shuffled_distance,
           "onset_coincidence": pairs.onset_coincidence, "chord_tone_rate": pairs.chord_tone_rate}


# Loops from the definitions.

def loop_pairs(spec, pitched):
    found = []
    for i in range(spec.n_tracks):
        for j in range(i + 1, spec.n_tracks):
            if not (pitched and (spec.tracks[i].is_drum or spec.tracks[j].is_drum)):
                found.append((i, j))
    return found


def beats(voice):
    """For each beat, how many steps each MIDI pitch sounds in it, by pitch."""
    found = []
    for first in range(0, len(voice.frame), voice.spec.steps_per_beat):
        counts = {}
        for step in voice.frame[first : first + voice.spec.steps_per_beat]:
            for p, sounds in enumerate(step):
                if sounds:
                    counts[p + voice.spec.lowest_pitch] = counts.get(p + voice.spec.lowest_pitch, 0) + 1
        found.append(counts)
    return found


def loop_centroid(counts):
    """Six numbers: sine and cosine on the circles of fifths (30 degrees a fifth), minor and major thirds."""
    centroid = [0.0] * 6
    for pitch, n in counts.items():
        c = pitch % 12
        for circle, (radius, degrees) in enumerate(((1, 210), (1, 270), (0.5, 120))):
            share = n / sum(counts.values())
            centroid[2 * circle] += share * radius * math.sin(math.radians(c * degrees))
            centroid[2 * circle + 1] += share * radius * math.cos(math.radians(c * degrees))
    return centroid


def loop_tonal_distance(phrases, shuffled=False):
    rows = []
    for n, phrase in enumerate(phrases):
        other = phrases[(n + 1) % len(phrases)] if shuffled else phrase
        row = []
        for i, j in loop_pairs(phrase[0].spec, pitched=True):
            total = count = 0
            for one, two in zip(beats(phrase[i]), beats(other[j])):
                if one and two:
                    total += math.dist(loop_centroid(one), loop_centroid(two))
                    count += 1
            row.append((total, count))
        rows.append(row)
    return rows


def loop_shuffled_tonal_distance(phrases):
    return loop_tonal_distance(phrases, shuffled=True)


def loop_onset_coincidence(phrases):
    rows = []
    for phrase in phrases:
        row = []
        for i, j in loop_pairs(phrase[0].spec, pitched=False):
            one, two = ({start for _, start, _ in phrase[k].notes} for k in (i, j))
            row.append((len(one & two), len(one | two)))
        rows.append(row)
    return rows


def all_triads():
    return [{root, (root + low) % 12, (root + low + high) % 12} for low, high in TRIADS.values() for root in range(12)]


def beat_class_sets(voice):
    return [set() if voice.is_drum else {pitch % 12 for pitch in counts} for counts in beats(voice)]


def loop_chord_tone_rate(phrases):
    rows = []
    for phrase in phrases:
        row = []
        for k, voice in enumerate(phrase):
            total = count = 0
            others = [beat_class_sets(other) for j, other in enumerate(phrase) if j != k]
            for index, own in enumerate(beat_class_sets(voice)):
                chord = set().union(*(sets[index] for sets in others))
                if len(chord) < 2:
                    continue
                best = max(len(chord & triad) for triad in all_triads())
                for c in own:
                    total += any(c in triad and len(chord & triad) == best for triad in all_triads())
                    count += 1
            row.append((total, count))
        rows.append(row)
    return rows


def loop_chord_type(classes):
    """The first name of which some transposition is the set."""
    for name, chord in pairs.CHORD_TYPES.items():
        if any({(c + root) % 12 for c in chord} == classes for root in range(12)):
            return name
    return {3: "three other pitch classes", 4: "four other pitch classes"}.get(
        len(classes), "five or more other pitch classes")


def loop_chord_types(phrase):
    counts = dict.fromkeys(pairs.chord_type_names(), 0)
    for sets in zip(*(beat_class_sets(voice) for voice in phrase)):
        if classes := set().union(*sets):
            counts[loop_chord_type(classes)] += 1
    return list(counts.values())


@GRIDS
@pytest.mark.parametrize("name", METRICS)
def test_each_phrase_adds_what_a_loop_counts(name, grid):
    rows = globals()[f"loop_{name.replace(' ', '_')}"](random_voices(grid))
    theirs = torch.tensor(rows, dtype=torch.float64).view(len(rows), -1, 2)    # without columns where no two are pitched
    ours = METRICS[name](random_music(grid)[1])
    assert ours.total.dtype == ours.count.dtype == torch.float32
    assert torch.equal(ours.count.double(), theirs[..., 1])
    torch.testing.assert_close(ours.total.double(), theirs[..., 0], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_random_phrases_differ_in_what_a_loop_sees(name):
    """Or the comparison above would prove little."""
    total, count = METRICS[name](random_music("lpd5")[1])
    assert len(total.sum(1).unique()) >= 3 and (total != count).any() and (total > 0).any()


@GRIDS
def test_chord_types_are_those_of_a_loop(grid):
    counts = pairs.chord_types(random_music(grid)[1])
    assert counts.dtype == torch.int64
    assert counts.tolist() == [loop_chord_types(phrase) for phrase in random_voices(grid)]


@pytest.fixture(scope="module")
def every_set():
    """The piano plays each set of pitch classes but the empty one, five in a phrase; the bass plays all."""
    spec = RollSpec((PIANO, BASS), steps_per_beat=1, beats_per_bar=5, lowest_pitch=24, n_pitches=12)
    cells = torch.arange(1, 1 << 12)[:, None] >> torch.arange(12) & 1
    frame = torch.stack([cells, torch.ones_like(cells)]).bool().view(2, -1, 1, 5, 12).transpose(0, 1).contiguous()
    sets = [{c for c in range(12) if row[c]} for row in cells.tolist()]
    return Roll(frame, frame), spec, [sets[i : i + 5] for i in range(0, len(sets), 5)]


def test_every_set_of_classes_has_the_type_of_a_loop(every_set):
    roll, spec, phrases = every_set
    found = pairs.chord_types(Music(roll.map(lambda plane: plane[:, :1]), RollSpec(spec.tracks[:1], 1, 5, 24, 12)))
    names = pairs.chord_type_names()
    for counts, phrase in zip(found.tolist(), phrases):
        types = [loop_chord_type(classes) for classes in phrase]
        assert counts == [types.count(name) for name in names]


def test_every_set_of_classes_has_the_chord_tones_of_a_loop(every_set):
    roll, spec, phrases = every_set
    tally = pairs.chord_tone_rate(Music(roll, spec))
    triads = all_triads()
    for total, count, phrase in zip(tally.total[:, 1].tolist(), tally.count[:, 1].tolist(), phrases):
        chords = [classes for classes in phrase if len(classes) >= 2]
        tones = 0
        for classes in chords:
            shared = [len(classes & triad) for triad in triads]
            tones += len(set().union(*(triad for triad, n in zip(triads, shared) if n == max(shared))))
        assert (total, count) == (tones, 12 * len(chords))


@GRIDS
@pytest.mark.parametrize("pitched", [False, True])
def test_pairs_are_those_of_a_loop_and_name_the_columns(grid, pitched):
    spec = SPECS[grid]
    assert pairs.pairs(spec, pitched) == loop_pairs(spec, pitched)
    metric = pairs.tonal_distance if pitched else pairs.onset_coincidence
    assert metric(random_music(grid)[1]).total.shape[1] == len(pairs.pairs(spec, pitched))


@pytest.mark.parametrize("name", METRICS)
def test_packed_rolls_give_the_same(name):
    roll, music = random_music("6/8")
    for a, b in zip(METRICS[name](music), METRICS[name](Music(roll.map(pack), music.spec))):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"shuffled tonal_distance"}))
def test_a_phrase_counts_the_same_in_any_company(name):
    roll, music = random_music("lpd5")
    whole = METRICS[name](music)
    for i in range(music.n):
        alone = METRICS[name](Music(roll.map(lambda plane: plane[i : i + 1]), music.spec))
        torch.testing.assert_close(alone, Tally(whole.total[i : i + 1], whole.count[i : i + 1]))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_silence_and_nothing_have_no_value(name, n):
    tally = METRICS[name](Music(drawn(LPD5, n=n), LPD5))
    assert tally.total.shape == (n, {"onset_coincidence": 10, "chord_tone_rate": 5}.get(name, 6))
    assert tally.value().isnan().all()


@pytest.mark.parametrize("n", [0, 2])
def test_silence_and_nothing_have_no_chords(n):
    counts = pairs.chord_types(Music(drawn(LPD5, n=n), LPD5))
    assert counts.shape == (n, len(pairs.chord_type_names())) and not counts.any()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("semitones", [-7, 1, 12])
def test_transposing_all_pitched_tracks_together_changes_nothing(name, semitones):
    notes = [(0, 36, 0, 1), (0, 38, 4, 5), (1, C4, 0, 4), (1, C4 + 4, 2, 8), (2, C4 - 12, 0, 8), (2, C4 - 5, 8, 10),
             (1, C4 + 10, 8, 16)]
    moved = [(track, pitch + semitones * (track > 0), start, end) for track, pitch, start, end in notes]
    a, b = METRICS[name](music_of(TRIO, *notes)), METRICS[name](music_of(TRIO, *moved))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert torch.equal(pairs.chord_types(music_of(TRIO, *notes)), pairs.chord_types(music_of(TRIO, *moved)))


@pytest.mark.parametrize("name", METRICS)
def test_one_phrase_transposed_is_farther_from_its_neighbours_only(name):
    """What its own tracks make together stays."""
    notes = [(1, C4, 0, 4), (2, C4 + 7, 0, 4)]
    still, up = drawn(TRIO, *notes), drawn(TRIO, *((track, pitch + 1, start, end) for track, pitch, start, end in notes))
    both = METRICS[name](Music(Roll(*(torch.cat(planes) for planes in zip(still, up))), TRIO))
    first, second = both.total
    assert torch.allclose(first, second, atol=1e-5) == (name != "shuffled tonal_distance")


# Tonal distance

def two_tracks(*chords):
    """One chord of the piano and one of the bass, of pitches above C4, for a beat."""
    return [(track, C4 + p, 0, 4) for track, chord in zip((1, 2), chords) for p in chord]


def distance_of(*chords):
    return pairs.tonal_distance(music_of(TRIO, *two_tracks(*chords))).value().item()


def test_octaves_do_not_matter():
    assert distance_of((-12, 0, 12), (0,)) == pytest.approx(0, abs=1e-6)
    assert distance_of((-12, 0, 12, 4, 16, 28), (0, 4)) == pytest.approx(0, abs=1e-6)
    assert distance_of((0, 7 + 24), (4 - 12,)) == pytest.approx(distance_of((0, 7), (4,)))


def test_the_same_chroma_is_at_no_distance_however_long_it_sounds():
    music = music_of(TRIO, (1, C4, 0, 4), (1, C4 + 4, 0, 4), (1, C4 + 7, 0, 4), (2, C4 - 12, 3, 4), (2, C4 - 8, 1, 2),
                     (2, C4 - 5, 2, 3))
    assert pairs.tonal_distance(music).value().item() == pytest.approx(0, abs=1e-6)


def test_a_class_weighs_as_long_as_it_sounds():
    """C for three steps and G for one lie a quarter of the way from C to G; the chord of single classes is a line."""
    music = music_of(TRIO, (1, C4, 0, 3), (1, C4 + 7, 3, 4), (2, C4, 0, 4))
    assert pairs.tonal_distance(music).value().item() == pytest.approx(distance_of((0,), (7,)) / 4)


def test_a_note_alone_is_at_its_chords_on_the_circles():
    """On a circle of radius r an angle a apart is a chord of 2 r sin(a / 2); three circles add up as squares."""
    for semitones in range(12):
        chords = [2 * r * math.sin(math.radians(semitones * degrees / 2)) for r, degrees in ((1, 210), (1, 270), (0.5, 120))]
        assert distance_of((0,), (semitones,)) == pytest.approx(math.hypot(*chords), abs=1e-5)
    assert distance_of((0,), (6,)) == pytest.approx(8**0.5)    # a tritone is the farthest
    assert distance_of((0,), (7,)) == pytest.approx((2 + 4 * math.sin(math.radians(15)) ** 2 + 0.75) ** 0.5)    # a fifth


def test_c_major_lies_where_harte_has_it():
    """By hand, against C alone: the mean of C (0, 1 on each circle), E and G, each at its angle."""
    half, root = 0.5, 3**0.5 / 2
    fifths = (root + half) / 3, (1 - half + root) / 3    # E at 840 = 120 degrees, G at 1470 = 30
    minor_thirds = (0 + 0 + 1) / 3, (1 + 1 + 0) / 3    # E at 1080 = 0, G at 1890 = 90
    major_thirds = 0.5 * (root + root) / 3, 0.5 * (1 - half - half) / 3    # E at 480 = 120, G at 840 = 120
    expected = math.dist((*fifths, *minor_thirds, *major_thirds), (0, 1, 0, 1, 0, 0.5))
    assert distance_of((0, 4, 7), (0,)) == pytest.approx(expected)


def test_near_keys_are_nearer():
    c_major = (0, 4, 7)
    near = distance_of(c_major, (7, 11, 14)), distance_of(c_major, (9, 12, 16))    # G major, A minor
    far = distance_of(c_major, (6, 10, 13)), distance_of(c_major, (1, 5, 8))    # F sharp major, D flat major
    assert max(near) < min(far)


def test_only_beats_in_which_both_sound_count():
    notes = [(1, C4, 0, 8), (2, C4 + 6, 4, 12), (1, C4, 16, 20)]
    total, count = pairs.tonal_distance(music_of(TRIO, *notes))
    assert count.tolist() == [[1]] and total.item() == pytest.approx(8**0.5)


def test_of_one_phrase_the_next_one_is_itself():
    music = music_of(TRIO, (1, C4, 0, 8), (2, C4 + 1, 0, 6), (2, C4 + 5, 6, 8))
    for a, b in zip(pairs.tonal_distance(music), shuffled_distance(music)):
        assert torch.equal(a, b)


def test_the_second_track_is_that_of_the_next_phrase_and_the_last_ones_is_that_of_the_first():
    rolls = [drawn(TRIO, *two_tracks((p,), (q,))) for p, q in ((0, 1), (2, 3), (4, 5))]
    music = Music(Roll(*(torch.cat(planes) for planes in zip(*rolls))), TRIO)
    expected = [distance_of((0,), (3,)), distance_of((2,), (5,)), distance_of((4,), (1,))]
    assert shuffled_distance(music).total.squeeze(1).tolist() == pytest.approx(expected)


# Onsets

def test_onsets_coincide_where_both_start():
    music = music_of(TRIO, (0, 36, 0, 1), (0, 36, 4, 5), (0, 36, 8, 9), (1, C4, 0, 8), (1, C4 + 4, 0, 2), (1, C4, 8, 9))
    value = pairs.onset_coincidence(music).value().tolist()
    assert value == [2 / 3, 0, 0]    # the bass is silent: it never starts with the others, who do


def test_what_goes_on_does_not_start():
    music = music_of(TRIO, (1, C4, 0, 8), (2, C4, 4, 8))
    assert pairs.onset_coincidence(music).value()[2] == 0


# Chords

@pytest.mark.parametrize("pitches, rate", [((0,), 1), ((4,), 1), ((7, 19), 1), ((2,), 0), ((0, 1), 0.5), ((4, 5, 6), 1 / 3)])
def test_chord_tones_of_c_major(pitches, rate):
    """E and G at any octave belong to it, however long they last."""
    music = music_of(LPD5, *((1, C4 + p, 0, 4) for p in (0, 4, 7)), *((3, C4 - 24 + p, 1, 2) for p in pitches))
    assert pairs.chord_tone_rate(music).value()[3].item() == pytest.approx(rate)


def test_the_chord_is_what_all_the_others_play():
    notes = [(1, C4, 0, 4), (2, C4 + 3, 0, 4), (4, C4 + 7, 0, 4), (3, C4 + 4, 0, 4)]    # C, E flat, G, and E in the bass
    assert pairs.chord_tone_rate(music_of(LPD5, *notes)).value()[3] == 0
    assert pairs.chord_tone_rate(music_of(LPD5, *notes[:2], notes[3])).value()[3] == 0    # C and E flat: no triad with E
    assert pairs.chord_tone_rate(music_of(LPD5, notes[0], notes[2], notes[3])).value()[3] == 1    # C and G: major too


def test_below_two_classes_there_is_no_chord():
    alone = music_of(LPD5, (1, C4, 0, 4), (1, C4 + 12, 0, 4), (2, C4, 0, 4), (3, C4 + 1, 0, 4))
    assert pairs.chord_tone_rate(alone).count[0, 3] == 0
    assert pairs.chord_tone_rate(alone).count[0, 1] == 1    # guitar and bass have two


@pytest.mark.parametrize("inversion", list(itertools.permutations((0, 4, 7))))
def test_c_e_g_is_major_in_any_inversion_octave_and_key(inversion):
    for key in range(12):
        notes = [(1 + i % 2, 24 + 12 * i + p + key, 4, 8) for i, p in enumerate(inversion)]
        counts = pairs.chord_types(music_of(TRIO, *notes))
        assert counts[0].nonzero().tolist() == [[pairs.chord_type_names().index("major")]]
        assert counts.sum() == 1    # silent beats do not count


@pytest.mark.parametrize("name", pairs.CHORD_TYPES)
def test_each_chord_has_its_name(name):
    notes = [(1, C4 + p, 0, 4) for p in pairs.CHORD_TYPES[name]]
    assert pairs.chord_types(music_of(TRIO, *notes))[0, pairs.chord_type_names().index(name)] == 1


@pytest.mark.parametrize("pitches, name", [
    ((0, 5), "fifth"), ((0, 8), "major third"), ((0, 9), "minor third"), ((0, 2, 7), "suspended"),
    ((0, 4, 7, 9), "minor seventh"), ((0, 1, 2), "three other pitch classes"), ((0, 1, 2, 3), "four other pitch classes"),
    (range(5), "five or more other pitch classes"), (range(12), "five or more other pitch classes"),
])    # fmt: skip
def test_inversions_and_what_has_no_name(pitches, name):
    counts = pairs.chord_types(music_of(TRIO, *((1, C4 + p, 0, 4) for p in pitches)))
    assert counts[0].nonzero().tolist() == [[pairs.chord_type_names().index(name)]]


def test_no_chord_has_two_names_and_every_interval_has_one():
    def kind(classes):
        return min(tuple(sorted((c + root) % 12 for c in classes)) for root in range(12))

    kinds = [kind(classes) for classes in pairs.CHORD_TYPES.values()]
    assert len(set(kinds)) == len(kinds)
    assert all(kind((0, interval)) in kinds for interval in range(1, 12))
    assert len(set(pairs.chord_type_names())) == len(pairs.chord_type_names()) == 26


def test_chords_are_of_beats():
    """A note through two beats, with another in the second: an octave or nothing, then a fifth."""
    notes = [(1, C4, 0, 8), (2, C4 + 7, 7, 9)]
    counts = dict(zip(pairs.chord_type_names(), pairs.chord_types(music_of(TRIO, *notes))[0].tolist()))
    assert {name: n for name, n in counts.items() if n} == {"one pitch class": 2, "fifth": 1}


def test_drums_have_no_harmony():
    pitched = [(1, C4, 0, 8), (1, C4 + 4, 0, 4), (2, C4 + 7, 0, 8), (2, C4 + 2, 8, 12)]
    drums = [(0, pitch, start, start + 1) for pitch in (36, 37, 38, 42) for start in range(0, 32, 2)]
    for metric in (pairs.tonal_distance, shuffled_distance, pairs.chord_tone_rate):
        for a, b in zip(metric(music_of(TRIO, *pitched)), metric(music_of(TRIO, *pitched, *drums))):
            assert torch.equal(a, b)
    assert torch.equal(pairs.chord_types(music_of(TRIO, *pitched)), pairs.chord_types(music_of(TRIO, *pitched, *drums)))
    assert not pairs.chord_types(music_of(TRIO, *drums)).any()


# Real music

@pytest.fixture(scope="module")
def real(songs):
    """Six phrases of four bars of each song, neighbours of different songs: the roll, and one of tracks that never met."""
    starts = songs.phrase_starts(4)
    of = songs.piece_of(starts)
    own = [starts[of == piece] for piece in range(len(songs.pieces))]
    chosen = torch.stack([rows[torch.linspace(0, len(rows) - 1, 6).long()] for rows in own], 1).flatten()
    roll = songs.roll(chosen, 4)
    mixed = roll.map(lambda plane: torch.stack([plane[:, k].roll(-k, 0) for k in range(songs.spec.n_tracks)], 1))
    return Music(roll, songs.spec), Music(mixed, songs.spec)


def test_tracks_of_other_songs_lie_farther_apart(real):
    music, mixed = real
    own = pairs.tonal_distance(music).value()
    assert (own * 1.4 < pairs.tonal_distance(mixed).value()).all()
    assert (own * 1.4 < shuffled_distance(music).value()).all()


def test_tracks_of_other_songs_play_fewer_chord_tones_and_start_apart(real):
    music, mixed = real
    own, others = (pairs.chord_tone_rate(m).value()[1:] for m in real)
    assert (own > others + 0.15).all()
    own, others = (pairs.onset_coincidence(m).value() for m in real)
    assert own.nanmean() > others.nanmean()


def test_real_chords_have_names_more_often_than_mixed_ones(real):
    own, others = (pairs.chord_types(m).sum(0).double() for m in real)
    unnamed = slice(len(pairs.CHORD_TYPES), None)
    assert own[unnamed].sum() / own.sum() < others[unnamed].sum() / others.sum() * 0.7
