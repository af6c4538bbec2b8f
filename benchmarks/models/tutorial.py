"""Training by the pair of the ISMIR 2019 tutorial and by `compact`, at the tutorial's shape:
`python -m benchmarks.models.tutorial`.

Source: notebook musegan.ipynb of github.com/salu133445/ismir2019tutorial (layers, loss, optimizers); written anew from
its layers. Shape: 5 tracks x 4 bars x 16 steps x 72 pitches from MIDI pitch 24.

Three ways take turns in one process, with one thread, on phrases of the embedded data:

- `compact` with the config `band`: a block of the loop itself, batches and moving average in (see `kinds`);
- the tutorial with five updates of the discriminator for each of the generator, as MuseGAN trains;
- the tutorial with one update, which is what its notebook does.

The tutorial's batches lie ready in memory; making them is not counted. An *iteration* is one update of the generator
and those of the discriminator before it. Two rates are told: *made*, phrases that the generator is updated by, a
second; and *real*, real phrases that the discriminator is updated by, a second. Neither says how well a network learns
from them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.models.kinds import load, prepare_songs, run, write
from musegan.data.dataset import PackedDataset
from musegan.data.tracks import PRESETS
from musegan.losses import discriminator_loss, generator_loss, gradient_penalty

PRESET = PRESETS["lpd5"].with_spec(n_pitches=72)
N_TRACKS, N_BARS, BATCH, LATENT_SIZE = 5, 4, 16, 128
N_PARAMETERS = {"generator": 313_951, "discriminator": 204_321}    # what the notebook prints
PENALTY_WEIGHT = 10.0
COMPACT, FIVE, ONE = "compact (config band)", "tutorial, 5 D updates", "tutorial, 1 (notebook)"


def grow(n_in: int, n_out: int, *kernel: int) -> nn.Sequential:
    """A transposed convolution over [bars, steps, pitches] by its stride, batch norm, ReLU."""
    stride = (1, 1, 1) if kernel == (1, 1, 3) else kernel    # from 4 octaves to 6: the one layer that overlaps
    return nn.Sequential(nn.ConvTranspose3d(n_in, n_out, kernel, stride), nn.BatchNorm3d(n_out), nn.ReLU())


class TutorialGenerator(nn.Module):
    """Latents to cells: [N, Z] -> [N, K, B, T, P], 0 or more."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(
            grow(LATENT_SIZE, 256, 4, 1, 1),    # [N, 256, 4, 1, 1]
            grow(256, 128, 1, 4, 1),    # [N, 128, 4, 4, 1]
            grow(128, 64, 1, 1, 4),    # [N, 64, 4, 4, 4]
            grow(64, 32, 1, 1, 3),    # [N, 32, 4, 4, 6]
        )
        self.tracks = nn.ModuleList(
            nn.Sequential(grow(32, 16, 1, 4, 1), grow(16, 1, 1, 1, 12)) for _ in range(N_TRACKS)
        )    # [N, 16, 4, 16, 6], [N, 1, 4, 16, 72]

    def forward(self, latents: Tensor) -> Tensor:
        h = self.shared(latents[:, :, None, None, None])
        return torch.cat([track(h) for track in self.tracks], dim=1)


class SampleNorm(nn.Module):
    """All numbers of a sample to mean 0 and deviation 1, then a factor and a summand for each channel.

    `nn.GroupNorm` of one group, but for where the small constant stands.
    """

    def __init__(self, n_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))

    def forward(self, h: Tensor) -> Tensor:
        flat = h.flatten(1)    # [N, C * places]
        mean, deviation = (each.view(-1, 1, 1, 1, 1) for each in (flat.mean(1), flat.std(1)))
        h = (h - mean) / (deviation + 1e-5)
        return self.weight.view(-1, 1, 1, 1) * h + self.bias.view(-1, 1, 1, 1)


def shrink(n_in: int, n_out: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> nn.Sequential:
    """A convolution over [bars, steps, pitches], `SampleNorm`, leaky ReLU."""
    return nn.Sequential(nn.Conv3d(n_in, n_out, kernel, stride), SampleNorm(n_out), nn.LeakyReLU(0.01))


class TutorialDiscriminator(nn.Module):
    """Cells to scores: [N, K, B, T, P] -> [N]."""

    def __init__(self):
        super().__init__()
        self.tracks = nn.ModuleList(
            nn.Sequential(shrink(1, 16, (1, 1, 12), (1, 1, 12)), shrink(16, 16, (1, 4, 1), (1, 4, 1)))
            for _ in range(N_TRACKS)
        )    # [N, 16, 4, 16, 6], [N, 16, 4, 4, 6]
        self.shared = nn.Sequential(
            shrink(16 * N_TRACKS, 64, (1, 1, 3), (1, 1, 1)),    # [N, 64, 4, 4, 4]
            shrink(64, 64, (1, 1, 4), (1, 1, 4)),    # [N, 64, 4, 4, 1]
            shrink(64, 128, (1, 4, 1), (1, 4, 1)),    # [N, 128, 4, 1, 1]
            shrink(128, 128, (2, 1, 1), (1, 1, 1)),    # [N, 128, 3, 1, 1]
            shrink(128, 256, (3, 1, 1), (3, 1, 1)),    # [N, 256, 1, 1, 1]
        )
        self.score = nn.Linear(256, 1)

    def forward(self, cells: Tensor) -> Tensor:
        h = torch.cat([track(own) for track, own in zip(self.tracks, cells.split(1, dim=1))], dim=1)
        return self.score(self.shared(h).flatten(1)).squeeze(1)


class Tutorial:
    """The pair in training.

    Args:
        updates: of the discriminator in an iteration.
        phrases: [n, K, B, T, P] real ones, n a multiple of the batch.
    """

    def __init__(self, updates: int, phrases: Tensor):
        torch.manual_seed(0)
        self.generator, self.discriminator = TutorialGenerator(), TutorialDiscriminator()
        for name, wanted in N_PARAMETERS.items():
            n = sum(parameter.numel() for parameter in getattr(self, name).parameters())
            assert n == wanted, f"{name}: {n} parameters, the notebook's has {wanted}"
        self._updates, self._batches, self._number = updates, phrases.split(BATCH), 0
        self._optimizers = [
            torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.9)) for network in (self.generator, self.discriminator)
        ]
        self.cpu: list[float] = []
        """CPU seconds of each iteration but the first."""
        self.wall: list[float] = []
        """The same on the clock."""

    def take_turn(self) -> None:
        """One iteration, timed."""
        cpu, wall, first = time.process_time(), time.perf_counter(), not self._number
        self.iterate()
        if not first:
            self.cpu.append(time.process_time() - cpu)
            self.wall.append(time.perf_counter() - wall)

    def iterate(self) -> None:
        """Updates of the discriminator, and one of the generator by the last one's phrases."""
        for update in range(self._updates):
            real = self._batches[self._number % len(self._batches)]
            self._number += 1
            with torch.set_grad_enabled(update == self._updates - 1):
                fake = self.generator(torch.randn(BATCH, LATENT_SIZE))
            loss = discriminator_loss("wasserstein", self.discriminator(real), self.discriminator(fake.detach()))
            penalty = gradient_penalty(self.discriminator, real, fake, torch.rand(BATCH))
            self._update(1, loss + PENALTY_WEIGHT * penalty)
        scores = self.discriminator(fake)
        self._update(0, generator_loss("wasserstein", scores.detach(), scores))

    def _update(self, which: int, loss: Tensor) -> None:
        # The generator's loss also leaves gradients in the discriminator, as in the notebook; they are cleared
        self._optimizers[which].zero_grad()
        loss.backward()
        self._optimizers[which].step()


def real_phrases(dataset: PackedDataset, n: int) -> Tensor:
    """[n, K, B, T, P] float32 frames, from all through the songs."""
    starts = dataset.phrase_starts(N_BARS)
    return dataset.roll(starts[torch.linspace(0, len(starts) - 1, n).long()], N_BARS).frame.float()


def measure(dataset: PackedDataset, n_blocks: int) -> list[dict]:
    """A line for each way, all taking turns; the first turn of each is not counted."""
    settings, phrases = load("band"), real_phrases(dataset, 16 * BATCH)
    assert phrases.shape[1:] == (N_TRACKS, N_BARS, 16, 72), phrases.shape
    rivals = {FIVE: Tutorial(5, phrases), ONE: Tutorial(1, phrases)}
    clock = run(settings, dataset, n_blocks, lambda: [rival.take_turn() for rival in rivals.values()])
    ways = {COMPACT: (clock, settings.train.batch_size, settings.train.discriminator_updates),
            FIVE: (rivals[FIVE], BATCH, 5), ONE: (rivals[ONE], BATCH, 1)}    # fmt: skip
    lines = []
    for name, (timed, batch, updates) in ways.items():
        cpu = statistics.median(timed.cpu)
        lines.append({
            "way": name, "batch": batch, "discriminator_updates": updates, "cpu_s": cpu, "least_cpu_s": min(timed.cpu),
            "most_cpu_s": max(timed.cpu), "wall_s": statistics.median(timed.wall), "repeats": len(timed.cpu),
            "made_per_cpu_s": batch / cpu, "real_per_cpu_s": updates * batch / cpu,
        })    # fmt: skip
    for line in lines:
        for rate in ("made", "real"):
            line[f"{rate}_compact_over_this"] = lines[0][f"{rate}_per_cpu_s"] / line[f"{rate}_per_cpu_s"]
    return lines


def main(argv: list[str] | None = None) -> None:
    """Measures, prints a table and writes JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.tutorial", description=__doc__)
    parser.add_argument("--blocks", type=int, default=9, help="turns of each way (default: 9)")
    parser.add_argument("--songs", type=int, help="how many of the embedded songs (default: all)")
    parser.add_argument("--out", type=Path, help="JSON lines, such as benchmarks/results/tutorial.jsonl")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(prepare_songs(Path(folder) / "songs", PRESET, arguments.songs), arguments.blocks)
    table = Table(title="Training at 5 x 4 x 16 x 72, one thread, medians")
    table.add_column("way", no_wrap=True)
    for heading in ("batch", "CPU s", "made/s", "ratio", "real/s", "ratio"):
        table.add_column(heading, justify="right")
    for line in lines:
        ratios = [f"{line[f'{rate}_compact_over_this']:.2f} x" for rate in ("made", "real")]
        made, real = (f"{line[f'{rate}_per_cpu_s']:.1f}" for rate in ("made", "real"))
        table.add_row(line["way"], str(line["batch"]), f"{line['cpu_s']:.3f}", made, ratios[0], real, ratios[1])
    Console().print(table)
    if arguments.out is not None:
        write(lines, arguments.out)


if __name__ == "__main__":
    main()
