"""Adversarial losses and penalties: pure functions of what a discriminator says.

Source: Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN): relativistic pairing (Jolicoeur-Martineau
2018) with zero-centred gradient penalties on real and on generated samples (R1 of Mescheder et al. 2018, and R2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of softplus(fake - real): small where each real sample scores above the generated one beside it.

    Args:
        real, fake: [N] scores.
    Returns:
        scalar, at least 0; log 2 where the scores are equal.
    """
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """Mean of softplus(real - fake): the discriminator's loss with the roles swapped. [N], [N] -> scalar."""
    return F.softplus(real - fake).mean()


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
