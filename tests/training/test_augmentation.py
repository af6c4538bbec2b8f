"""What the discriminator sees moved: the cells that the view says, as often as it says."""

import pytest
import torch

from musegan.config import TrainConfig
from musegan.training.augmentation import Strength, View, view
from tests.models.test_layout import LAYOUT, random_roll

STILL = View(semitones=0, bars=0, beats=0, silent_track=None)


class Recorder:
    """A discriminator that keeps what it is shown."""

    def __call__(self, features, semitones, rotation):
        self.seen = features, semitones, rotation
        return features.flatten(1).sum(1)


def seen(**changes):
    recorder, features = Recorder(), LAYOUT.crop(random_roll()).float()
    STILL._replace(**changes).score(recorder, features, LAYOUT)
    return features, *recorder.seen


def test_beats_shift_time_across_bar_lines_as_on_a_circle():
    features, shown, *_ = seen(beats=1)
    n_steps = LAYOUT.spec.steps_per_beat
    assert torch.equal(shown[:, 0, n_steps:], features[:, 0, :-n_steps])
    assert torch.equal(shown[:, 1, :n_steps], features[:, 0, -n_steps:])
    assert torch.equal(shown[:, 0, :n_steps], features[:, 1, -n_steps:])


def test_a_silent_track_is_not_seen_and_the_others_are():
    features, shown, *_ = seen(silent_track=1)
    drums, piano, bass = LAYOUT.columns
    assert shown[..., piano.frame].sum() == shown[..., piano.onset].sum() == 0 < features[..., piano.frame].sum()
    for columns in (drums.frame, bass.frame, bass.onset):
        assert torch.equal(shown[..., columns], features[..., columns])


def test_semitones_and_bars_are_left_to_the_discriminator():
    features, shown, semitones, bars = seen(semitones=-3, bars=1)
    assert torch.equal(shown, features) and (semitones, bars) == (-3, 1)


def test_views_are_drawn_as_often_as_the_probability_says():
    settings = TrainConfig(transpose_range=5, shift_beats=True, silence_track=True)
    views = [view(settings, LAYOUT, 4, number, probability=0.4) for number in range(2000)]
    # 1 of 11 transpositions, 1 of 4 shifts are none
    for share, expected in (
        (sum(v.semitones != 0 for v in views), 0.4 * 10 / 11),
        (sum(v.beats != 0 for v in views), 0.4 * 3 / 4),
        (sum(v.silent_track is not None for v in views), 0.4),
        (sum(v.bars != 0 for v in views), 3 / 4),
    ):
        assert share / 2000 == pytest.approx(expected, abs=0.05)
    assert {v.semitones for v in views} == set(range(-5, 6)) and {v.silent_track for v in views} == {None, 0, 1, 2}
    assert views == [view(settings, LAYOUT, 4, number, probability=0.4) for number in range(2000)]


def test_what_is_switched_off_never_happens():
    views = [view(TrainConfig(transpose_range=0), LAYOUT, 1, number, probability=1.0) for number in range(50)]
    assert set(views) == {STILL}


@pytest.mark.parametrize("held_out, memory", [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (-4.0, 1.0), (2.0, 0.0)])
def test_memory_is_0_for_one_that_generalizes_and_1_for_one_that_takes_unseen_music_for_made(held_out, memory):
    strength = Strength(0.5, target=0.4)
    found = strength.adapt(torch.full((4,), 1.0), torch.full((4,), held_out), torch.zeros(4))
    assert found == pytest.approx(memory)
    assert (strength.probability > 0.5) == (memory > 0.4)


def test_the_probability_stays_within_0_and_1_and_without_target_where_it_is():
    for sign, end in ((1.0, 1.0), (-1.0, 0.0)):
        strength = Strength(0.5, target=0.4)
        for _ in range(200):
            strength.adapt(torch.tensor([1.0]), torch.tensor([-sign]), torch.tensor([0.0]))
        assert strength.probability == end
    fixed = Strength(0.5, target=0.0)
    fixed.adapt(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([0.0]))
    assert fixed.probability == 0.5
