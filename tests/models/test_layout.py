"""Cropping rolls to features and back."""

import pytest
import torch

from musegan.models import Layout
from musegan.roll import PRESETS, Roll, RollSpec, Track

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", program=33)), n_pitches=12, lowest_pitch=36)
LAYOUT = Layout(SPEC, (2, 0, 1), (3, 12, 5), ("poly", "poly", "mono"))


def random_roll(spec=SPEC, n=4, bars=2, density=0.2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = (n, spec.n_tracks, bars, spec.steps_per_bar, spec.n_pitches)
    frame = torch.rand(shape, generator=rng) < density
    onset = frame & (torch.rand(shape, generator=rng) < 0.5)
    drums = [track.is_drum for track in spec.tracks]
    onset[:, drums] = frame[:, drums]
    return Roll(frame, onset)


def test_columns_lie_side_by_side():
    assert LAYOUT.n_features == 3 + 2 * 12 + 2 * 5 == sum(LAYOUT.widths)
    covered = [i for track in LAYOUT.columns for part in (track.frame, track.onset) if part for i in range(37)[part]]
    assert covered == list(range(37))


def test_expand_undoes_crop_inside_the_ranges():
    roll = random_roll()
    frame, onset = LAYOUT.expand(LAYOUT.crop(roll), outside=0.0)
    inside = torch.zeros(3, 12, dtype=torch.bool)
    for k, track in enumerate(LAYOUT.columns):
        inside[k, track.pitches] = True
    inside = inside[:, None, None]
    assert torch.equal(frame.bool(), roll.frame & inside)
    assert torch.equal(onset.bool(), roll.onset & inside)


def test_fit_cuts_only_the_tail():
    counts = torch.zeros(3, 12, dtype=torch.int64)
    counts[0, 5] = 10
    counts[1, 2:9] = 1000
    counts[1, 11] = 1    # one cell of 7001: tail
    layout = Layout.fit(counts, SPEC, ("bass",))
    assert layout.first_pitch[:2] == (5, 2)
    assert layout.n_pitches[:2] == (1, 7)
    assert layout.heads == ("poly", "poly", "mono")
    assert 1 <= layout.n_pitches[2] <= 12    # a track that never sounds still has a place


@pytest.mark.parametrize("mono", [("organ",), ("drums",)])
def test_mono_tracks_must_be_pitched_tracks_of_the_data(mono):
    with pytest.raises(ValueError, match="no pitched track named"):
        Layout.fit(torch.ones(3, 12, dtype=torch.int64), SPEC, mono)


@pytest.mark.parametrize("semitones", [-13, -3, 0, 1, 4])
def test_transposed_columns_move_pitch_and_nothing_else(semitones):
    roll = random_roll()
    moved = Roll(roll.frame.clone(), roll.onset.clone())
    for k, track in enumerate(LAYOUT.columns):
        if SPEC.tracks[k].is_drum:
            continue
        # Within a track's own range: a cell outside it is not in the features and cannot come back.
        for plane, source in zip(moved, roll):
            own = source[:, k, ..., track.pitches]
            shifted = torch.zeros_like(own)
            for p in range(own.shape[-1]):
                if 0 <= p + semitones < own.shape[-1]:
                    shifted[..., p + semitones] = own[..., p]
            plane[:, k, ..., track.pitches] = shifted
    features = torch.nn.functional.pad(LAYOUT.crop(roll), (0, 1))[..., LAYOUT.transposed_columns(semitones)]
    assert torch.equal(features, LAYOUT.crop(moved))


def test_ranges_must_fit_the_pitches():
    with pytest.raises(ValueError, match="must lie within P=84: first=80, n=5"):
        Layout(RollSpec(PRESETS["satb"]), (80, 0, 0, 0), (5, 1, 1, 1), ("mono",) * 4)


def test_cosines_are_a_basis_of_what_changes_slowly_in_each_plane_of_a_line():
    cosines = LAYOUT.cosines(6)
    assert cosines.shape == (2 * 4, LAYOUT.n_features)    # only the bass is a line, and it has five pitches
    bass = LAYOUT.columns[2]
    assert not cosines[:, : bass.frame.start].any()
    gram = cosines @ cosines.T
    assert torch.allclose(gram, torch.diag(gram.diagonal()), atol=1e-5) and (gram.diagonal() > 1).all()
    assert (cosines[0, bass.frame].diff() < 0).all() and not cosines[0, bass.onset].any()    # from low to high
    assert torch.equal(LAYOUT.cosines(6, [2]), cosines[:, bass.frame.start :])
    assert LAYOUT.cosines(2, [2]).shape == (2 * 2, 10)
    assert LAYOUT.cosines(6, [0]).shape == (0, 3) and LAYOUT.cosines(6, [1]).shape == (0, 24)
