"""How much of a long piece comes back, and whether its seams show, beside as many bars of real music.

    python -m benchmarks.models.pieces RUN --data DATASET [--bars 16] [--n 100] [--themes 0.5 0.8] [--form AABA]

For every share of the theme, and for phrases that were made apart and laid end to end: the similarity of bars that lie
1, 2, 4 and 8 apart (note starts in common, Jaccard), that of neighbours across the border of two phrases over that of
neighbours within one, and the share of bars that are silent in every track.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from musegan import latents
from musegan.data.dataset import PackedDataset
from musegan.latents import draw, piece
from musegan.metrics.music import Music
from musegan.metrics.structure import bar_similarity
from musegan.models import load_generator
from musegan.roll import Roll, RollSpec
from musegan.sampling import exact, render
from musegan.seeding import generator_for
from musegan.training.run_folder import RunFolder

LAGS = (1, 2, 4, 8)


def main(argv: list[str] | None = None) -> int:
    """Measures a run's pieces."""
    parser = argparse.ArgumentParser(prog="benchmarks.models.pieces", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bars", type=int, default=16)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--themes", type=float, nargs="+", default=[0.0, 0.5, 0.7, latents.THEME, 0.9, 1.0])
    parser.add_argument("--form")
    arguments = parser.parse_args(argv)
    model, dataset = exact(load_generator(RunFolder(arguments.run).best)), PackedDataset.open(arguments.data)
    length, spec = model.n_bars, model.spec
    starts = dataset.phrase_starts(arguments.bars)
    chosen = starts[torch.randperm(len(starts), generator=generator_for(0, "pieces"))[: arguments.n]]

    table = Table()
    for heading in ("", *(f"{lag} apart" for lag in LAGS), "border", "silent"):
        table.add_column(heading, no_wrap=True)
    table.add_row("real", *figures(dataset.roll(chosen, arguments.bars), spec, length))
    shipped = latents.THEME
    for theme in arguments.themes:
        latents.THEME = theme
        made = torch.cat([piece(model, arguments.bars, arguments.form, sample=i) for i in range(arguments.n)])
        table.add_row(f"theme {theme:g}", *figures(render(model, made, 0), spec, length))
    latents.THEME = shipped
    n_phrases = arguments.bars // length
    apart = render(model, draw(model, range(arguments.n * n_phrases), 0), 0)
    laid = apart.map(lambda plane: plane.unflatten(0, (-1, n_phrases)).transpose(1, 2).flatten(2, 3))
    table.add_row("phrases apart", *figures(laid, spec, length))
    Console().print(table)
    return 0


def figures(roll: Roll, spec: RollSpec, phrase_bars: int) -> list[str]:
    """Similarity by lag, of neighbours across borders over those within phrases, and silent bars."""
    music = Music(roll, spec)
    means = [_mean(*bar_similarity(music, lag)) for lag in LAGS]
    similarity, counts = bar_similarity(music, 1)    # [N, K, B - 1]
    border = torch.arange(similarity.shape[2]) % phrase_bars == phrase_bars - 1
    ratio = _mean(similarity[..., border], counts[..., border]) / _mean(similarity[..., ~border], counts[..., ~border])
    silent = (~roll.frame.any(-1).any(-1).any(1)).float().mean().item()
    return [*(f"{mean:.2f}" for mean in means), f"{ratio:.2f}", f"{silent:.1%}"]


def _mean(values: Tensor, counts: Tensor) -> float:
    return ((values * counts).sum() / counts.sum()).item()


if __name__ == "__main__":
    sys.exit(main())
