"""`musegan-v3`: the default networks of the third release of MuseGAN, for rolls of any shape.

Source: presets `generator/default.py` and `discriminator/default.py` of github.com/salu133445/musegan (2019), after
Dong et al. 2018. At 4 bars x 48 steps x 84 pitches x 5 tracks the networks are those; `streams.Shape` says what they
are elsewhere. The functions are the released ones, the way to compute them is not (`strided.py`).

Differs: latents are normal, not cut off at two standard deviations; the discriminator takes 0 to 1 and maps it to -1
to 1 itself; biases before batch norm, which it takes off again, are left out: of the 2,578,127 numbers of the released
generator, 1,381.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from musegan.models.critic import Channels, Seen, StreamDiscriminator
from musegan.models.generator import Facts, Generator, Given, RollLogits, check_positive
from musegan.models.layout import Layout
from musegan.models.streams import Shape, Streams, check_whole, check_width, plane_logits, weights
from musegan.models.strided import Norm, overlap_add


class MuseganV3Generator(Generator):
    """Latents to rolls: a shared network, then two streams of private layers for each track, pitch or time first.

    Args:
        layout: must be `Layout.whole`.
        n_bars: B.
        facts: of the training data.
        latent_size: Z, 128 as released.
        width: channels of a bar, 512 as released; the other layers' are in proportion.
    """

    kind = "musegan-v3"

    def __init__(self, layout: Layout, n_bars: int, facts: Facts = Facts(), latent_size: int = 128, width: int = 512):
        check_positive(n_bars=n_bars, latent_size=latent_size)
        check_width(width)
        check_whole(layout)
        super().__init__(layout, n_bars, facts, latent_shape=(latent_size,))
        self.shape = s = Shape(layout.spec, n_bars)
        # Shared by the tracks
        self.to_bars = weights(n_bars * width, latent_size)
        self.bar_norm = Norm(width)
        self.to_beats = weights(s.beats * s.groups * width // 2, width)
        self.beat_norm = Norm(width // 2)
        self.to_octaves = weights(s.outer * s.group_octaves * width // 4, width // 2)
        self.octave_norm = Norm(width // 4)
        # Of each track
        self.streams = Streams(s, width // 4, width // 16, width // 32)

    def _logits(self, latents: Tensor) -> Tensor:
        """[N, Z] -> log-odds [N, B, T, K * P]: twice what the released code takes the tanh of, to give -1 to 1."""
        s = self.shape
        h = F.linear(latents, self.to_bars).unflatten(1, (s.n_bars, -1))    # [N, B, 512]
        h = F.linear(self.bar_norm(h).relu(), self.to_beats)    # [N, B, beats * q * 256]
        h = h.unflatten(2, (s.beats, s.groups, -1))    # [N, B, beats, q, 256]
        h = F.linear(self.beat_norm(h).relu(), self.to_octaves)
        h = h.unflatten(4, (s.outer, s.group_octaves, -1)).transpose(3, 4)    # [N, B, beats, outer, q, 3, 128]
        h = overlap_add(h)[..., : s.octaves, :]    # [N, B, beats, outer, octaves, 128]
        h = self.streams(self.octave_norm(h.contiguous()).relu())    # [N, B, T, K, P]
        return 2 * self.slope * h.flatten(3)

    def probabilities(self, latents: Tensor, given: Given | None = None) -> Tensor:
        """What the discriminator sees, see `Generator.probabilities`."""
        return self._logits(latents).sigmoid()

    def forward(self, latents: Tensor, given: Given | None = None) -> RollLogits:
        """Latents to logits, see `Generator.forward`."""
        return plane_logits(self.layout, self._logits(latents))


class MuseganV3Discriminator(StreamDiscriminator):
    """Features to a score; see `StreamDiscriminator`.

    Args:
        layout: must be `Layout.whole`.
        n_bars: B.
        width: channels of a pair of bars, 512 as released; the other layers' are in proportion.
        score_pairs: the released file's last layer scores each pair of neighbouring bars by the same 512 weights
            (1,365,841 parameters), and the loss is their mean. Differs without: it scores the pairs together, as in
            BinaryMuseGAN (1,366,865 parameters).
    """

    def __init__(self, layout: Layout, n_bars: int, width: int = 512, score_pairs: bool = False):
        check_width(width)
        w = width // 32    # 16
        channels = Channels(
            private=(w, 2 * w, 4 * w),
            shared=(8 * w, 16 * w),
            chroma=(2 * w, 4 * w),
            edges=(w, 2 * w, 4 * w),
            merged=32 * w,
        )
        super().__init__(layout, n_bars, channels, Seen(-1.0, tracks_together=True, drum_edges=True), score_pairs)
