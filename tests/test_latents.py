"""Latents: what is drawn, mixed and strung together stays standard normal, and changes what it says it changes."""

import pytest
import torch

from musegan import latents
from musegan.errors import UserError
from musegan.latents import draw, interpolate, n_bars_of, piece, reroll, series, truncate, vary
from musegan.models import CompactGenerator
from musegan.sampling import render
from tests.models.test_compact import pair


class Fixed(CompactGenerator):
    """A model whose phrases have one length."""

    kind = "fixed"
    any_length = False


def fixed(**settings):
    generator, _ = pair(**settings)
    generator.__class__ = Fixed
    return generator


def test_a_row_depends_on_its_number_alone():
    generator, _ = pair()
    z = draw(generator, range(4), seed=3)
    assert z.shape == (4, 4, 3, 8) and z.dtype == torch.float64
    assert torch.equal(draw(generator, [3, 1], seed=3), z[[3, 1]])
    assert not torch.equal(draw(generator, [3], seed=4), z[3:])
    assert draw(generator, [], 0).shape == (0, 4, 3, 8)


def test_interpolation_turns_each_vector_from_end_to_end():
    generator, _ = pair()
    a, b = draw(generator, range(2), seed=0)
    z = interpolate(a, b, 5)
    assert torch.equal(z[0], a) and torch.equal(z[-1], b)
    right_angle = interpolate(torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double(), 3)[1]
    assert torch.allclose(right_angle, torch.full((2,), 2.0**0.5).double())    # not half as long
    angles = torch.cosine_similarity(z[:-1], z[1:], dim=-1).acos()    # [4, rows, columns]
    lengths = z.norm(dim=-1)
    assert (lengths.amin(0) > 0.5 * torch.minimum(lengths[0], lengths[-1])).all()
    assert (angles.sum(0) - torch.cosine_similarity(a, b, dim=-1).acos()).abs().max() < 1e-6    # on one arc


def test_interpolation_between_alike_and_opposite():
    a = torch.ones(2, 3, dtype=torch.float64)
    assert torch.allclose(interpolate(a, a, 4), a)
    assert torch.isfinite(interpolate(a, -a, 4)).all()
    with pytest.raises(ValueError, match="two steps"):
        interpolate(a, a, 1)


def test_variations_stay_standard_normal_and_near():
    generator, _ = pair(latent_size=500)
    z = draw(generator, range(20), seed=0)
    for amount in (0.0, 0.3, 1.0):
        varied = vary(z, amount, generator, seed=1)
        assert varied.std().item() == pytest.approx(1, abs=0.02)
        correlation = (z * varied).mean().item()
        assert correlation == pytest.approx((1 - amount**2) ** 0.5, abs=0.02)
    assert torch.equal(vary(z[:5], 0.3, generator, 1)[3:], vary(z[3:5], 0.3, generator, 1, first=3))
    for amount in (-0.1, 1.1):
        with pytest.raises(UserError, match=r"the amount of variation must lie in \[0, 1\]"):
            vary(z, amount, generator, 0)


def test_a_reroll_changes_one_row():
    generator, _ = pair()
    z = draw(generator, range(3), seed=0)
    new = reroll(z, 1, generator, seed=5)
    changed = (new != z).flatten(2).any(2)
    assert changed.tolist() == [[False, False, True, False]] * 3
    assert torch.equal(reroll(z[2:], 1, generator, seed=5, first=2), new[2:])
    with pytest.raises(UserError, match="tracks share all latents .kind compact, variant composer."):
        composer, _ = pair(variant="composer")
        reroll(draw(composer, [0], 0), 1, composer, 0)
    with pytest.raises(ValueError, match="track must be 0 to 2: got 3"):
        reroll(z, 3, generator, 0)


def test_truncation_draws_in():
    z = torch.ones(2, 3).double()
    assert torch.equal(truncate(z, 0.25), 0.25 * z) and torch.equal(truncate(z, 1.0), z)
    with pytest.raises(UserError, match="truncation must lie"):
        truncate(z, 1.5)


def test_a_piece_goes_on_from_its_sample():
    generator, _ = pair()
    (sample,), z = draw(generator, [4], seed=2), piece(generator, 9, seed=2, sample=4)
    assert z.shape == (1, 4, 2, 9, 8) and n_bars_of(generator, z) == 9
    assert torch.equal(z[0, :, 1, :2], sample[:, 1:])
    assert torch.equal(z[0, :, 0, :2], sample[:, :1].expand(-1, 2, -1))
    made = render(generator, piece(generator, 2, seed=2, sample=4), 0)
    assert all(torch.equal(a, b) for a, b in zip(made, render(generator, sample[None], 0)))


@pytest.mark.parametrize("n_bars, length", [(8, 2), (12, 3), (20, 5), (4, 1)])
def test_sections_come_back_as_the_form_says(n_bars, length):
    generator, _ = pair()
    a, b, c, d = piece(generator, n_bars, "AABA", seed=1).split(length, dim=3)
    assert torch.equal(a, b) and torch.equal(a, d) and not torch.equal(a, c)
    assert torch.equal(piece(generator, n_bars, "aaba", seed=1), torch.cat([a, a, c, a], dim=3))


def test_sections_share_a_theme(monkeypatch):
    generator, _ = pair(latent_size=500)
    z = piece(generator, 8, seed=0)[0]    # [rows, 2, B, Z], phrases of two bars
    assert z.std().item() == pytest.approx(1, abs=0.03)
    common, own = z.unbind(1)
    assert torch.equal(common[:, 2], common[:, 3])    # of one section
    for plane in (common, own):
        correlation = torch.cosine_similarity(plane[:, 0], plane[:, 2])    # [rows]
        assert (correlation - latents.THEME**0.5).abs().max() < 0.1
    monkeypatch.setattr(latents, "THEME", 0.0)
    assert (piece(generator, 8, seed=0)[0, :, 0, 0] * piece(generator, 8, seed=0)[0, :, 0, 2]).mean(1).abs().max() < 0.2


@pytest.mark.parametrize("likeness", [0.0, 0.7])
def test_bars_of_all_that_is_drawn_are_as_alike_as_the_model_says(likeness):
    generator, _ = pair(latent_size=500, bar_likeness=likeness)
    z = draw(generator, range(20), seed=0)    # [N, rows, 1 + B, Z]
    for made in (z, vary(z, 1.0, generator, seed=1), reroll(z, 1, generator, seed=1)[:, 2:3]):
        assert made.std().item() == pytest.approx(1, abs=0.03)
        assert (made[:, :, 1] * made[:, :, 2]).mean().item() == pytest.approx(likeness, abs=0.05)
    own = piece(generator, 4, "AB", seed=0)[0, :, 1]    # [rows, B, Z]
    for one, other in ((0, 1), (2, 3)):
        assert (own[:, one] * own[:, other]).mean().item() == pytest.approx(likeness, abs=0.1)


def test_pieces_that_cannot_be():
    generator, _ = pair()
    with pytest.raises(UserError, match="10 bars are no 4 sections of equal length"):
        piece(generator, 10, "AABA")
    with pytest.raises(UserError, match="a form is a letter for each section, such as AABA: got 'A1'"):
        piece(generator, 4, "A1")
    with pytest.raises(UserError, match="such as AABA: got ''"):
        piece(generator, 0, "")
    with pytest.raises(UserError, match="1 to 1024 bars: got 0"):
        piece(generator, 0)
    with pytest.raises(UserError, match="makes phrases of 2 bars, no others"):
        piece(fixed(), 4)


def test_phrases_of_a_series_share_a_theme():
    generator = fixed(latent_size=500)
    z = series(generator, 3, seed=0, sample=7)
    assert torch.equal(z[:1], draw(generator, [7], 0))
    assert (z[0] * z[2]).mean().item() == pytest.approx(latents.THEME**0.5, abs=0.05)
    assert torch.equal(series(generator, 2, 0, 7), z[:2])


def test_a_letter_that_has_no_single_capital_is_one_section():
    generator, _ = pair()
    z = piece(generator, 8, "ßA", seed=1)[0]    # [rows, 2, 8, Z]
    assert not torch.equal(z[:, :, :4], z[:, :, 4:])
