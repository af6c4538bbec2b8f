"""Latents: drawn, mixed, changed a little or in one track, and strung together to long pieces.

All are float64, so that the same numbers come out on every machine; a row depends on its own number and the seed, not
on how many are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.errors import UserError
from musegan.models import Generator
from musegan.models.generator import MAX_BARS
from musegan.seeding import generator_for

THEME = 0.9    # share of variance that sections have in common: as much returns as in real songs (docs/composing.md)


def draw(model: Generator, samples: Sequence[int], seed: int) -> Tensor:
    """[N, *latent_shape], standard normal as the model's `prior` is: one row for each sample's number."""
    rows = [_noise(model.latent_shape, seed, "latents", i) for i in samples]
    return model.prior(torch.stack(rows)) if rows else torch.empty(0, *model.latent_shape, dtype=torch.float64)


def interpolate(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Steps from one sample's latents to another's, along the sphere, so that each is as long as latents are.

    Every vector of Z turns by itself; the first and the last step are `a` and `b` to the bit.

    Args:
        a, b: [..., Z].
        n: number of steps, both ends among them; two at least.
    Returns:
        [n, ..., Z].
    Raises:
        ValueError: shapes differ, or n is below 2.
    Source: Shoemake 1985, slerp; White 2016, for latents.
    """
    if a.shape != b.shape or n < 2:
        shapes = f"{list(a.shape)}, {list(b.shape)}"
        raise ValueError(f"interpolation needs two latents of one shape and two steps: got {shapes}, {n}")
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1, eps=1e-300).clamp(-1, 1).unsqueeze(-1)    # [..., 1]
    angle = cosine.acos()
    sine = angle.sin()
    steps = [a]
    for i in range(1, n - 1):
        t = i / (n - 1)
        along, straight = ((1 - t) * angle).sin() / sine * a + (t * angle).sin() / sine * b, (1 - t) * a + t * b
        steps.append(torch.where(sine.abs() < 1e-9, straight, along))    # alike or opposite, there is no one arc
    return torch.stack([*steps, b])


def vary(
    z: Tensor, amount: float, model: Generator, seed: int, first: int = 0, others: Tensor | None = None
) -> Tensor:
    """Latents near others, as far as `amount` says: 0 the same, 1 unrelated; standard normal where these are.

    Args:
        z: [N, ...]; row i gets variation number `first` + i.
        others: [N, ...] what it is at 1, drawn by default; of a piece, another of the same form, which then stays.
    Raises:
        UserError: `amount` is not in [0, 1].
    """
    _check_share("the amount of variation", amount)
    if not len(z):
        return z.clone()
    if others is None:
        others = model.prior(torch.stack([_noise(z.shape[1:], seed, "variation", first + i) for i in range(len(z))]))
    return math.sqrt(1 - amount**2) * z + amount * others


def reroll(
    z: Tensor, track: int, model: Generator, seed: int, first: int = 0, others: Tensor | None = None
) -> Tensor:
    """New latents of one track; the others, and what all share, stay.

    Args:
        z: [N, rows, ...]; row i of the batch gets version number `first` + i.
        track: its index.
        others: [N, ...] whose latents it takes, drawn by default; see `vary`.
    Raises:
        UserError: the model's tracks have no latents of their own.
        ValueError: there is no such track.
    """
    if not model.has_track_latents:
        raise UserError(f"this model cannot make one track anew: its tracks share all latents ({_named(model)})")
    if not 0 <= track < model.spec.n_tracks:
        raise ValueError(f"track must be 0 to {model.spec.n_tracks - 1}: got {track}")
    z = z.clone()
    for i, sample in enumerate(z):
        if others is None:
            noise = _noise((1, 1, *sample.shape[1:]), seed, "reroll", track, first + i)
            sample[1 + track] = model.prior(noise)[0, 0]
        else:
            sample[1 + track] = others[i, 1 + track]
    return z


def truncate(z: Tensor, psi: float) -> Tensor:
    """Latents drawn in towards their mean, which is 0: likelier and more alike the smaller `psi`, in [0, 1].

    Source: the truncation trick of Brock et al. 2019 (BigGAN) and Karras et al. 2019, without redrawing.

    Raises:
        UserError: `psi` is not in [0, 1].
    """
    _check_share("truncation", psi)
    return psi * z


def piece(model: Generator, n_bars: int, form: str | None = None, seed: int = 0, sample: int = 0) -> Tensor:
    """Latents of one long piece, that the model makes in one go, so that its notes cross all bar lines alike.

    Its first phrase has the latents of sample number `sample`: a piece is a phrase that goes on. A *phrase* here is as
    long as those of training. All phrases of a section share what is common to their bars; sections share a part of it,
    the theme (`THEME`); each bar has its own. A section that comes back is the same.

    Args:
        model: of any length.
        n_bars: B.
        form: a letter for each section, e.g. AABA, all equally long. By default each phrase is a section; none comes
            back.
        seed, sample: of the first phrase, and of all others.
    Returns:
        [1, rows, 2, B, Z], see `Generator.any_length`.
    Raises:
        UserError: the model's length is fixed, or the form does not divide the bars.
    """
    length, letters = _sections(model, n_bars, form)
    theme = draw(model, [sample], seed)[0]    # [rows, 1 + S, Z]
    made: dict[str | int, Tensor] = {}
    for letter in letters:
        if letter not in made:
            made[letter] = _section(model, theme, length, seed, sample, len(made))
    return torch.cat([made[letter] for letter in letters], dim=2)[None, :, :, :n_bars]


def series(model: Generator, n: int, seed: int, sample: int = 0) -> Tensor:
    """[n, *latent_shape] of phrases one after the other, for models of fixed length: they share a theme, as sections do.

    The first has the latents of sample number `sample`.
    """
    first = draw(model, [sample], seed)
    others = [_mixed(first[0], _noise(model.latent_shape, seed, "series", sample, i)) for i in range(1, n)]
    return torch.cat([first, *(other[None] for other in others)])[:n]


def n_bars_of(model: Generator, z: Tensor) -> int:
    """How many bars the model makes of latents [N, ...]."""
    if not model.any_length:
        return model.n_bars
    return z.shape[3] if z.ndim == 5 else z.shape[2] - 1


def _sections(model: Generator, n_bars: int, form: str | None) -> tuple[int, Sequence[str | int]]:
    """Bars in a section, and a name for each section; alike where they are the same."""
    if not model.any_length:
        raise UserError(f"this model makes phrases of {model.n_bars} bars, no others ({_named(model)})")
    if form is not None and not form.isalpha():
        raise UserError(f"a form is a letter for each section, such as AABA: got {form!r}")
    if not 1 <= n_bars <= MAX_BARS:
        raise UserError(f"a piece has 1 to {MAX_BARS} bars: got {n_bars}")
    if form is None:
        return model.n_bars, range(-(-n_bars // model.n_bars))
    if n_bars % len(form):
        rule = f"take a multiple of {len(form)}"
        raise UserError(f"{n_bars} bars are no {len(form)} sections of equal length ({form}): {rule}")
    return n_bars // len(form), [letter.upper() for letter in form]


def _section(model: Generator, theme: Tensor, length: int, seed: int, sample: int, number: int) -> Tensor:
    """[rows, 2, length, Z] of the section with this number; number 0 begins with the theme's phrase."""
    first = theme
    if number:
        first = _mixed(theme, model.prior(_noise((1, *theme.shape), seed, "section", sample, number, 0))[0])
    common, parts = first[:, :1], []    # [rows, 1, Z]
    for phrase in range(-(-length // model.n_bars)):
        own = first[:, 1:]    # [rows, S, Z]
        if phrase:
            own = _mixed(own, _noise(own.shape, seed, "section", sample, number, phrase))
        parts.append(torch.stack([common.expand_as(own), own], dim=1))    # [rows, 2, S, Z]
    return torch.cat(parts, dim=2)[:, :, :length]


def _mixed(theme: Tensor, other: Tensor) -> Tensor:
    return math.sqrt(THEME) * theme + math.sqrt(1 - THEME) * other


def _noise(shape: Sequence[int], seed: int, *purpose: str | int) -> Tensor:
    return torch.randn(tuple(shape), dtype=torch.float64, generator=generator_for(seed, *purpose))


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} must lie in [0, 1]: got {value:g}")


def _named(model: Generator) -> str:
    variant = getattr(model, "variant", None)
    return f"kind {model.kind}" + (f", variant {variant}" if variant else "")
