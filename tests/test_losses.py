"""Losses and penalties: their formulas, what they push scores to, and a toy problem that each must solve."""

import math
from math import exp, log

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from musegan.losses import KINDS, discriminator_loss, generator_loss, gradient_penalty, zero_centred_penalty

LOSSES = {"discriminator": discriminator_loss, "generator": generator_loss}


# Formulas of one real and one generated sample, as in the papers, with D the probability of being real


def D(score: float) -> float:
    return 1 / (1 + exp(-score))


def not_D(score: float) -> float:
    """1 - D(score), which would be rounded to 0 at a large score."""
    return 1 / (1 + exp(score))


FORMULAS = {
    ("discriminator", "relativistic"): lambda real, fake: -log(D(real - fake)),
    ("generator", "relativistic"): lambda real, fake: -log(D(fake - real)),
    ("discriminator", "wasserstein"): lambda real, fake: fake - real,
    ("generator", "wasserstein"): lambda real, fake: -fake,
    ("discriminator", "non-saturating"): lambda real, fake: -log(D(real)) - log(not_D(fake)),
    ("generator", "non-saturating"): lambda real, fake: -log(D(fake)),
    ("discriminator", "classic"): lambda real, fake: -log(D(real)) - log(not_D(fake)),
    ("generator", "classic"): lambda real, fake: log(not_D(fake)),
    ("discriminator", "hinge"): lambda real, fake: -min(0, -1 + real) - min(0, -1 - fake),
    ("generator", "hinge"): lambda real, fake: -fake,
    ("discriminator", "least-squares"): lambda real, fake: (real - 1)**2 / 2 + fake**2 / 2,
    ("generator", "least-squares"): lambda real, fake: (fake - 1)**2 / 2,
}
PAIRS = [(2.0, 0.5), (-1.0, 3.0), (0.0, 0.0), (0.25, -0.75), (1.0, -1.0), (80.0, -80.0), (-80.0, 80.0), (80.0, 80.0)]


def test_every_loss_has_a_formula():
    assert set(FORMULAS) == {(role, kind) for role in LOSSES for kind in KINDS}


@pytest.mark.parametrize("role, kind", FORMULAS)
def test_loss_against_its_formula(role, kind):
    expected = [FORMULAS[role, kind](*pair) for pair in PAIRS]
    for pair, value in zip(PAIRS, expected):
        real, fake = (torch.tensor([score], requires_grad=True) for score in pair)
        loss = LOSSES[role](kind, real, fake)
        assert loss.shape == () and loss.item() == pytest.approx(value, rel=1e-6), pair
        loss.backward()
        assert all(score.grad is None or score.grad.isfinite() for score in (real, fake)), pair
    loss = LOSSES[role](kind, *torch.tensor(PAIRS).T)
    assert loss.item() == pytest.approx(sum(expected) / len(PAIRS), rel=1e-6)


@pytest.mark.parametrize("role", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_nan_without_samples(kind, role):
    assert LOSSES[role](kind, torch.empty(0), torch.empty(0)).isnan()


@pytest.mark.parametrize("role", LOSSES)
def test_unknown_loss_is_refused(role):
    with pytest.raises(ValueError, match="one of relativistic, wasserstein, .*, least-squares; got 'vanilla'"):
        LOSSES[role]("vanilla", torch.zeros(2), torch.zeros(2))


@pytest.mark.parametrize("role", LOSSES)
@pytest.mark.parametrize("real, fake", [((4,), (4, 1)), ((4, 1), (4, 1)), ((4,), (1,)), ((), ())])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_would_be_broadcast_are_refused(kind, real, fake, role):
    with pytest.raises(ValueError, match=r"scores: expected \[N\] and \[N\], got \["):
        LOSSES[role](kind, torch.zeros(real), torch.zeros(fake))


# What they push scores to


def slopes(role: str, kind: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a loss with respect to the real and to the generated scores, times N."""
    real, fake = (score.clone().requires_grad_() for score in (real, fake))
    gradients = torch.autograd.grad(LOSSES[role](kind, real, fake), (real, fake), materialize_grads=True)
    return tuple(len(real) * gradient for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_discriminator_pushes_real_scores_up_and_generated_ones_down(kind):
    real, fake = slopes("discriminator", kind, torch.linspace(0.1, 0.9, 9), torch.linspace(0.9, 0.1, 9))
    assert (real < 0).all() and (fake > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_generator_pushes_generated_scores_up(kind):
    real, fake = slopes("generator", kind, torch.linspace(0.1, 0.9, 9), torch.linspace(0.9, 0.1, 9))
    assert (fake < 0).all()
    assert (real > 0).all() if kind == "relativistic" else (real == 0).all()


def test_only_pairing_depends_on_who_stands_beside_whom():
    real, fake = torch.tensor([3.0, -2.0, 0.5]), torch.tensor([2.0, -1.0, -3.0])
    for kind in KINDS:
        for loss in LOSSES.values():
            turned = loss(kind, real, fake.roll(1)).item()
            assert (turned == pytest.approx(loss(kind, real, fake).item(), rel=1e-6)) == (kind != "relativistic")


@pytest.mark.parametrize("kind", ["relativistic", "wasserstein"])
def test_some_losses_see_only_differences_of_scores(kind):
    real, fake = torch.tensor([3.0, -2.0]), torch.tensor([2.0, -1.0])
    moved = discriminator_loss(kind, real + 8, fake + 8)
    assert moved.item() == pytest.approx(discriminator_loss(kind, real, fake).item(), rel=1e-6)
    equal = discriminator_loss(kind, real, real)
    assert equal.item() == pytest.approx(math.log(2) if kind == "relativistic" else 0)


def test_losses_of_a_discriminator_that_has_learnt_nothing():
    scores = torch.zeros(3)
    values = [discriminator_loss(kind, scores, scores).item() for kind in KINDS]
    assert values == pytest.approx([math.log(2), 0, 2 * math.log(2), 2 * math.log(2), 2, 0.5])


def test_relativistic_generator_wants_what_the_discriminator_does_not():
    real, fake = torch.tensor([3.0, -2.0]), torch.tensor([2.5, -1.0])
    assert torch.equal(generator_loss("relativistic", real, fake), discriminator_loss("relativistic", fake, real))


def test_classic_is_a_game_of_which_one_side_wins_what_the_other_loses():
    real, fake = torch.tensor([3.0, -2.0]), torch.tensor([2.5, -1.0])
    losing = slopes("generator", "classic", real, fake)[1]
    assert torch.allclose(losing, -slopes("discriminator", "classic", real, fake)[1])


def test_classic_gives_up_where_the_discriminator_is_sure_and_non_saturating_does_not():
    real, fake = torch.zeros(3), torch.tensor([-30.0, 0.0, 30.0])
    classic, other = (slopes("generator", kind, real, fake)[1].tolist() for kind in ("classic", "non-saturating"))
    assert classic == pytest.approx([0, -0.5, -1], abs=1e-6)
    assert other == pytest.approx([-1, -0.5, 0], abs=1e-6)


def test_hinge_is_flat_beyond_the_margin_and_even_within():
    scores = torch.tensor([-5.0, -1.5, -0.5, 0.5, 1.5, 5.0])
    real, fake = slopes("discriminator", "hinge", scores, scores)
    assert real.tolist() == pytest.approx([-1, -1, -1, -1, 0, 0])
    assert fake.tolist() == pytest.approx([0, 0, 1, 1, 1, 1])
    assert slopes("generator", "hinge", scores, scores)[1].tolist() == pytest.approx([-1] * 6)


def test_least_squares_draws_back_scores_beyond_the_target():
    scores = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    real, fake = slopes("discriminator", "least-squares", scores, scores)
    assert real.tolist() == pytest.approx([-2, -1, -0.5, 0, 1])
    assert fake.tolist() == pytest.approx([-1, 0, 0.5, 1, 2])


# Zero-centred penalty


def test_zero_centred_penalty_of_a_linear_score_is_half_its_squared_weight():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    sample = torch.randn(6, 2, requires_grad=True)
    penalty = zero_centred_penalty(sample @ weight, sample)
    assert penalty.item() == pytest.approx(25 / 2)
    penalty.backward()    # d/dw of |w|^2 / 2
    assert torch.allclose(weight.grad, torch.tensor([3.0, 4.0]))


def test_zero_centred_penalty_counts_all_axes_and_averages_over_the_batch():
    sample = torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]], requires_grad=True)    # score = sum of squares
    assert zero_centred_penalty(sample.square().sum((1, 2)), sample).item() == pytest.approx((4 * 5 + 4 * 9) / 2 / 2)


# Gradient penalty


@pytest.mark.parametrize("length, expected", [(5.0, 16.0), (1.0, 0.0), (0.25, 0.75**2)])    # above, at and below 1
def test_gradient_penalty_of_a_linear_score_is_its_weights_distance_from_1(length, expected):
    weight = torch.randn(2, 3, 4, dtype=torch.double)
    weight *= length / weight.norm()
    real, fake = torch.randn(2, 5, 2, 3, 4, dtype=torch.double)
    for alpha in (torch.zeros(5), torch.ones(5), torch.rand(5)):
        penalty = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), real, fake, alpha)
        assert penalty.item() == pytest.approx(expected, abs=1e-12)


def test_gradient_penalty_of_a_quadratic_score_where_each_sample_has_its_own_point():
    real, fake = torch.tensor([[3.0, 4.0], [3.0, 4.0], [6.0, 8.0]]), torch.zeros(3, 2)
    half_square = lambda x: x.square().sum(1) / 2    # its gradient is the point itself
    penalty = gradient_penalty(half_square, real, fake, torch.tensor([0.2, 0.6, 1.0]))
    assert penalty.item() == pytest.approx(((1 - 1)**2 + (3 - 1)**2 + (10 - 1)**2) / 3)


def test_gradient_penalty_looks_between_each_pair_at_its_own_share_of_the_real_sample():
    real, fake = torch.tensor([[[8.0, 8.0]], [[8.0, 0.0]]]), torch.tensor([[[0.0, 4.0]], [[4.0, 4.0]]])
    seen = []
    gradient_penalty(lambda x: seen.append(x.detach()) or x.sum((1, 2)), real, fake, torch.tensor([0.25, 1.0]))
    assert len(seen) == 1
    assert seen[0].tolist() == [[[2.0, 5.0]], [[8.0, 0.0]]]


def test_gradient_of_the_gradient_penalty():
    sizes = [(3, 4), (4,)]
    torch.manual_seed(0)
    weights = [torch.randn(size, dtype=torch.double, requires_grad=True) for size in sizes]
    real, fake = torch.randn(2, 5, 3, dtype=torch.double)
    alpha = torch.rand(5, dtype=torch.double)
    penalty = lambda first, last: gradient_penalty(lambda x: torch.tanh(x @ first) @ last, real, fake, alpha)
    assert torch.autograd.gradcheck(penalty, weights)
    assert torch.autograd.gradgradcheck(penalty, weights)


def test_gradient_penalty_trains_the_discriminator_alone():
    scale = torch.tensor(2.0, requires_grad=True)
    real, fake = torch.tensor([[6.0, 8.0]], requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    penalty = gradient_penalty(lambda x: scale * x.square().sum(1) / 2, real, fake, torch.tensor([0.5]))
    penalty.backward()
    assert scale.grad.item() == pytest.approx(2 * (10 - 1) * 5)    # d/ds of (5 s - 1)^2
    assert real.grad is None and fake.grad is None


def test_gradient_penalty_of_a_flat_score_is_1_and_all_its_gradients_are_finite():
    weight = torch.zeros(2, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ weight, *torch.randn(2, 5, 2), torch.rand(5))
    assert penalty.item() == 1
    (first,) = torch.autograd.grad(penalty, weight, create_graph=True)
    assert first.tolist() == [0, 0]
    (second,) = torch.autograd.grad(first.sum(), weight)
    assert second.isfinite().all()


def test_one_flat_sample_leaves_the_gradient_of_the_others_alone():
    scale = torch.tensor(1.0, requires_grad=True)
    real = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    penalty = gradient_penalty(lambda x: scale * x.square().sum(1) / 2, real, real, torch.ones(2))
    assert penalty.item() == pytest.approx((1 + 16) / 2)
    penalty.backward()
    assert scale.grad.item() == pytest.approx(2 * (5 - 1) * 5 / 2)    # d/ds of (5 s - 1)^2 / 2


@pytest.mark.parametrize("alpha", [(), (1,), (4, 1), (4, 3)])
def test_one_alpha_for_many_samples_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha: expected \[N=4\], got \["):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(alpha))


def test_samples_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"fake: expected \[4, 3\] as of real, got \[1, 3\]"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(4, 3), torch.zeros(1, 3), torch.zeros(4))


# A toy problem: four blots, far apart


MODES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
SPREAD = 0.1    # standard deviation of a blot
ADAM_BETAS = (0.0, 0.99)    # those of the training loop
BATCH = 128
LATENT = 2


def blots(n: int, rng: torch.Generator, modes: Tensor = MODES) -> Tensor:
    chosen = torch.randint(len(modes), (n,), generator=rng)
    return modes[chosen] + SPREAD * torch.randn(n, 2, generator=rng)    # [N, 2]


def is_solved(sample: Tensor) -> bool:
    """Whether most samples lie in a blot, and each blot has a fair share of all (a quarter would be even)."""
    distance, mode = torch.cdist(sample, MODES).min(1)
    shares = torch.bincount(mode[distance < 3 * SPREAD], minlength=len(MODES)) / len(sample)
    return bool(shares.sum() > 0.8 and shares.min() > 0.1)


def network(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, n_out)
    )


def toy_generator(
    kind: str, penalty: str, weight: float, learning_rate: float, steps: int, every: int = 1, critics: int = 1
) -> Tensor:
    """2000 samples of a generator trained as in the training loop: Adam, lazy penalties, the average of its weights."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, discriminator = network(LATENT, 2), network(2, 1)
    average = {name: value.detach().clone() for name, value in generator.named_parameters()}
    optimizers = [
        torch.optim.Adam(net.parameters(), learning_rate, ADAM_BETAS, fused=True) for net in (generator, discriminator)
    ]
    score = lambda sample: discriminator(sample).squeeze(1)    # [N]
    generate = lambda: generator(torch.randn(BATCH, LATENT, generator=rng))

    def update(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for step in range(steps):
        for _ in range(critics):
            real, fake = blots(BATCH, rng).requires_grad_(), generate().detach().requires_grad_()
            real_score, fake_score = score(real), score(fake)
            loss = discriminator_loss(kind, real_score, fake_score)
            if step % every == 0:
                match penalty:
                    case "R1": extra = zero_centred_penalty(real_score, real)
                    case "R1 + R2":
                        extra = zero_centred_penalty(real_score, real) + zero_centred_penalty(fake_score, fake)
                    case "slope 1": extra = gradient_penalty(score, real, fake, torch.rand(BATCH, generator=rng))
                loss = loss + weight * every * extra
            update(optimizers[1], loss)
        update(optimizers[0], generator_loss(kind, real_score.detach(), score(generate())))
        for name, value in generator.named_parameters():
            average[name].lerp_(value.detach(), 0.02)
    return functional_call(generator, average, torch.randn(2000, LATENT, generator=rng)).detach()


def test_the_toy_problem_tells_a_solution_from_collapse():
    rng = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(2000, generator=rng)
    assert is_solved(blots(2000, rng))
    assert not is_solved(blots(2000, rng, MODES[:1]))
    assert not is_solved(blots(2000, rng, MODES[:3]))
    assert not is_solved(torch.stack((angle.cos(), angle.sin()), 1))    # a ring through all of them
    assert not is_solved(torch.zeros(2000, 2))
    assert not is_solved(toy_generator("classic", "R1", 0.03, 2e-3, steps=0))


@pytest.mark.parametrize("kind, penalty, options", [
    ("relativistic", "R1 + R2", dict(weight=0.03, learning_rate=2e-3, steps=1000)),
    ("wasserstein", "slope 1", dict(weight=0.1, learning_rate=3e-3, steps=1000, critics=2)),
    ("non-saturating", "R1", dict(weight=0.03, learning_rate=2e-3, steps=800)),
    ("non-saturating", "R1", dict(weight=0.03, learning_rate=2e-3, steps=800, every=4)),
    ("classic", "R1", dict(weight=0.03, learning_rate=2e-3, steps=800)),
    ("hinge", "R1", dict(weight=0.03, learning_rate=2e-3, steps=800)),
    ("least-squares", "R1", dict(weight=0.03, learning_rate=2e-3, steps=800)),
])
def test_toy_problem_is_solved(kind, penalty, options):
    assert is_solved(toy_generator(kind, penalty, **options))
