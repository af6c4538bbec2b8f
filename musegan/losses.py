"""Adversarial losses and penalties: pure functions of what a discriminator says.

Sources:
    classic, non-saturating: Goodfellow et al. 2014, "Generative adversarial nets", section 3.
    least-squares: Mao et al. 2017, "Least squares generative adversarial networks", equation 9.
    wasserstein: Arjovsky et al. 2017, "Wasserstein GAN"; its penalty of Gulrajani et al. 2017, "Improved training of
        Wasserstein GANs".
    hinge: Lim & Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral normalization for GANs".
    relativistic: Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN): relativistic pairing
        (Jolicoeur-Martineau 2018) with zero-centred gradient penalties on real and on generated samples (R1 of
        Mescheder et al. 2018, and R2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from musegan.config import Loss

KINDS = get_args(Loss)


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: small where real samples score high and generated ones low.

    Args:
        kind: one of `KINDS`.
        real, fake: [N] scores, any real number; as logits, their sigmoid is the probability of being real. Only
            "relativistic" compares each real sample with the generated one beside it.
    Returns:
        scalar, NaN where N = 0; at least 0, but for "wasserstein", which has no bound. Where all scores are 0: log 2
        ("relativistic"), 0, 2 log 2 (twice), 2, 1/2, in the order of `KINDS`.
    Raises:
        ValueError: the kind is unknown, or the scores are not [N] and [N].
    """
    _check_scores(real, fake)
    match kind:
        case "relativistic": return F.softplus(fake - real).mean()
        case "wasserstein": return fake.mean() - real.mean()
        case "non-saturating" | "classic": return F.softplus(-real).mean() + F.softplus(fake).mean()
        case "hinge": return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        case "least-squares": return ((real - 1).square().mean() + fake.square().mean()) / 2
        case _: raise _unknown(kind)


def generator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """What a generator minimises: small where generated samples score high.

    Args:
        kind: one of `KINDS`.
        real, fake: [N] scores, as of `discriminator_loss`; only "relativistic" looks at the real ones.
    Returns:
        scalar, NaN where N = 0; at least 0 for "relativistic", "non-saturating" and "least-squares"; at most 0 for
        "classic", whose gradient vanishes where the discriminator is sure that a sample is generated.
    Raises:
        ValueError: the kind is unknown, or the scores are not [N] and [N].
    """
    _check_scores(real, fake)
    match kind:
        case "relativistic": return F.softplus(real - fake).mean()
        case "wasserstein" | "hinge": return -fake.mean()
        case "non-saturating": return F.softplus(-fake).mean()
        case "classic": return -F.softplus(fake).mean()    # log(1 - sigmoid(fake))
        case "least-squares": return (fake - 1).square().mean() / 2
        case _: raise _unknown(kind)


def zero_centred_penalty(score: Tensor, sample: Tensor) -> Tensor:
    """Half the squared gradient of the score with respect to the sample, mean over the batch.

    R1 on real samples, R2 on generated ones. The result can be differentiated again.

    Args:
        score: [N], computed from `sample`.
        sample: [N, ...] with requires_grad.
    Returns:
        scalar, at least 0.
    """
    (gradient,) = torch.autograd.grad(score.sum(), sample, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """Squared distance from 1 of the score's slope at points between real and generated samples, mean over the batch.

    Two-sided: a slope below 1 costs as one above. The slope is the Euclidean norm of the score's gradient over all
    features of a sample. The result can be differentiated again with respect to the discriminator; no gradient reaches
    `real` and `fake`. Each score must depend on its own sample alone: no normalisation over the batch.

    Args:
        discriminator: [N, ...] samples -> [N] scores.
        real, fake: [N, ...] of one shape.
        alpha: [N] in [0, 1], share of the real sample in each point; to be drawn anew for each sample and each step.
    Returns:
        scalar, at least 0; NaN where N = 0. Where the slope is 0, the penalty is 1 and its gradient 0.
    Raises:
        ValueError: shapes do not fit.
    Source: Gulrajani et al. 2017, algorithm 1, without its weight (10 there).
    """
    if real.shape != fake.shape:
        raise ValueError(f"fake: expected {list(real.shape)} as of real, got {list(fake.shape)}")
    if alpha.shape != real.shape[:1]:    # anything else would be broadcast, and one share serve many samples
        raise ValueError(f"alpha: expected [N={len(real)}], got {list(alpha.shape)}")
    alpha = alpha.reshape(-1, *(1 for _ in real.shape[1:]))    # [N, 1, ...]
    between = (alpha * real.detach() + (1 - alpha) * fake.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    square = gradient.square().flatten(1).sum(1)    # [N]
    flat = square == 0
    slope = square.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)    # the root's own gradient at 0 is infinite
    return (slope - 1).square().mean()


def _check_scores(real: Tensor, fake: Tensor) -> None:
    if real.ndim != 1 or real.shape != fake.shape:    # [N] and [N, 1] would be paired all with all
        raise ValueError(f"scores: expected [N] and [N], got {list(real.shape)} and {list(fake.shape)}")


def _unknown(kind: str) -> ValueError:
    return ValueError(f"loss: expected one of {', '.join(KINDS)}; got {kind!r}")
