"""Losses against their formulas."""

import math

import pytest
import torch

from musegan.losses import relativistic_discriminator, relativistic_generator, zero_centred_penalty


def test_pairing_against_the_formula():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    expected = sum(math.log1p(math.exp(f - r)) for r, f in zip([2.0, -1.0], [0.5, 3.0])) / 2
    assert relativistic_discriminator(real, fake).item() == pytest.approx(expected, rel=1e-6)


def test_generator_wants_what_the_discriminator_does_not():
    real, fake = torch.randn(8), torch.randn(8)
    assert torch.equal(relativistic_generator(real, fake), relativistic_discriminator(fake, real))


def test_equal_scores_give_log_2():
    scores = torch.randn(5)
    assert relativistic_discriminator(scores, scores).item() == pytest.approx(math.log(2), rel=1e-6)


def test_penalty_of_a_linear_score_is_half_its_squared_weight():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    sample = torch.randn(6, 2, requires_grad=True)
    penalty = zero_centred_penalty(sample @ weight, sample)
    assert penalty.item() == pytest.approx(25 / 2)
    penalty.backward()    # d/dw of |w|^2 / 2
    assert torch.allclose(weight.grad, torch.tensor([3.0, 4.0]))


def test_penalty_counts_all_axes_and_averages_over_the_batch():
    sample = torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]], requires_grad=True)    # score = sum of squares
    assert zero_centred_penalty(sample.square().sum((1, 2)), sample).item() == pytest.approx((4 * 5 + 4 * 9) / 2 / 2)
