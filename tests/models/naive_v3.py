"""The networks of MuseGAN's third release as written, layer by layer from torch's convolutions: slow and plain.

Channels are the second axis here: [N, C, B, T, P]. `*_tensors` say which numbers of the fast networks are which here.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Strides(NamedTuple):
    """How a roll's shape comes about; the defaults are the released ones."""

    tracks: int = 5
    bars: int = 4
    beats: int = 4
    outer: int = 4
    inner: int = 3
    groups: int = 3
    group_octaves: int = 3
    octaves: int = 7
    pitches: int = 84

    @property
    def octave_kernel(self):
        """Of the layer whose kernels overlap, and its stride."""
        return (1, self.outer, self.group_octaves), (1, self.outer, min(2, self.group_octaves))


def tconv(n_in, n_out, kernel, stride=None):
    return nn.ConvTranspose3d(n_in, n_out, kernel, stride or kernel)


def tconv_layer(n_in, n_out, kernel, stride=None):
    return nn.Sequential(tconv(n_in, n_out, kernel, stride), norm(n_out), nn.ReLU())


def norm(n):
    return nn.BatchNorm3d(n, eps=1e-3, momentum=0.01)


def conv_layer(n_in, n_out, kernel, stride=None):
    return nn.Sequential(nn.Conv3d(n_in, n_out, kernel, stride or kernel), nn.LeakyReLU(0.2))


class NaiveGenerator(nn.Module):
    """[N, Z] -> [N, B, T, K * P] in [0, 1]."""

    def __init__(self, s=Strides(), latent_size=128, width=512, middle=32, out=16):
        super().__init__()
        self.s, w = s, width
        self.shared = nn.ModuleList([
            tconv_layer(latent_size, w, (s.bars, 1, 1)),                                            # 4, 1, 1
            tconv_layer(w, w // 2, (1, s.beats, s.groups)),                                         # 4, 4, 3
            tconv_layer(w // 2, w // 4, *s.octave_kernel),                                          # 4, 16, 7
        ])
        self.pitch_time = nn.ModuleList(nn.Sequential(
            tconv_layer(w // 4, middle, (1, 1, 12)),                                                # 4, 16, 84
            tconv_layer(middle, out, (1, s.inner, 1)),                                              # 4, 48, 84
        ) for _ in range(s.tracks))
        self.time_pitch = nn.ModuleList(nn.Sequential(
            tconv_layer(w // 4, middle, (1, s.inner, 1)),                                           # 4, 48, 7
            tconv_layer(middle, out, (1, 1, 12)),                                                   # 4, 48, 84
        ) for _ in range(s.tracks))
        self.merged = nn.ModuleList(tconv(2 * out, 1, (1, 1, 1)) for _ in range(s.tracks))
        self.merged_norm = nn.ModuleList(norm(1) for _ in range(s.tracks))

    def logits(self, z: Tensor) -> Tensor:
        """Before the tanh: [N, K, B, T, P]."""
        h = z[:, :, None, None, None]
        for i, layer in enumerate(self.shared):
            h = layer[0](h)
            if i == 2:
                h = h[..., : self.s.octaves]
            h = layer[2](layer[1](h))
        tracks = []
        for k in range(self.s.tracks):
            own = self.merged[k](torch.cat([self.pitch_time[k](h), self.time_pitch[k](h)], dim=1))
            tracks.append(self.merged_norm[k](own[..., : self.s.pitches]))
        return torch.cat(tracks, dim=1)

    def forward(self, z: Tensor) -> Tensor:
        return ((self.logits(z).tanh() + 1) / 2).permute(0, 2, 3, 1, 4).flatten(3)


class NaiveDiscriminator(nn.Module):
    """[N, B, T, K * P] in [0, 1] -> [N]."""

    def __init__(self, s=Strides(), width=512, score_pairs=False):
        super().__init__()
        self.s, self.score_pairs = s, score_pairs
        k, w, see = s.tracks, width // 32, min(2, s.bars)
        self.pitch_time = nn.ModuleList(nn.Sequential(
            conv_layer(k, w, (1, 1, 12)),                                                           # 4, 48, 7
            conv_layer(w, 2 * w, (1, s.inner, 1)),                                                  # 4, 16, 7
        ) for _ in range(k))
        self.time_pitch = nn.ModuleList(nn.Sequential(
            conv_layer(k, w, (1, s.inner, 1)),                                                      # 4, 16, 84
            conv_layer(w, 2 * w, (1, 1, 12)),                                                       # 4, 16, 7
        ) for _ in range(k))
        self.merged_private = nn.ModuleList(conv_layer(4 * w, 4 * w, (1, 1, 1)) for _ in range(k))  # 4, 16, 7
        self.shared = nn.Sequential(
            conv_layer(k * 4 * w, 8 * w, *s.octave_kernel),                                         # 4, 4, 3
            conv_layer(8 * w, 16 * w, (1, s.beats, s.groups)),                                      # 4, 1, 1
        )
        self.chroma = nn.Sequential(
            conv_layer(k, 2 * w, (1, 1, 12)),                                                       # 4, 4, 1
            conv_layer(2 * w, 4 * w, (1, s.beats, 1)),                                              # 4, 1, 1
        )
        self.on_off_set = nn.Sequential(
            conv_layer(k, w, (1, s.inner, 1)),                                                      # 4, 16, 1
            conv_layer(w, 2 * w, (1, s.outer, 1)),                                                  # 4, 4, 1
            conv_layer(2 * w, 4 * w, (1, s.beats, 1)),                                              # 4, 1, 1
        )
        self.merged = conv_layer(24 * w, 32 * w, (see, 1, 1), (1, 1, 1))                            # 3, 1, 1
        self.score = nn.Linear((1 if score_pairs else s.bars + 1 - see) * 32 * w, 1)

    def seen(self, features):
        x = (2 * features - 1).unflatten(-1, (self.s.tracks, self.s.pitches)).permute(0, 3, 1, 2, 4)
        return F.pad(x, (0, 12 * self.s.octaves - self.s.pitches), value=-1.0)    # [N, K, B, T, P]

    def edges(self, x):
        return x - F.pad(x[:, :, :, :-1], (0, 0, 1, 0))

    def own(self, x, k):
        return x

    def forward(self, features: Tensor) -> Tensor:
        s, x = self.s, self.seen(features)
        beats = x.unflatten(3, (s.beats, -1)).sum(4)    # [N, K, B, beats, P]
        chroma = sum(beats[..., 12 * i : 12 * i + 12] for i in range(s.octaves))
        on_off_set = self.edges(x).sum(4, keepdim=True)

        h = []
        for k in range(s.tracks):
            own = self.own(x, k)
            h.append(self.merged_private[k](torch.cat([self.pitch_time[k](own), self.time_pitch[k](own)], dim=1)))
        h = torch.cat(h, dim=1)
        needed = 1 if s.groups == 1 else 2 * s.groups + 1
        h = F.pad(h, (0, max(0, needed - s.octaves)))
        h = torch.cat([self.shared(h), self.chroma(chroma), self.on_off_set(on_off_set)], dim=1)
        h = self.merged(h)[..., 0, 0].transpose(1, 2)    # [N, B - 1, 512]
        return self.score(h).mean((1, 2)) if self.score_pairs else self.score(h.flatten(1)).squeeze(1)


def generator_tensors(fast, read=lambda parameter: parameter) -> dict[str, Tensor]:
    """The parameters of a `NaiveGenerator`, biases before batch norm apart, from those of the fast one.

    Args:
        read: what of a parameter: itself, or its gradient.
    """
    s, streams = fast.shape, fast.streams
    result = {
        "shared.0.0.weight": read(fast.to_bars).unflatten(0, (s.n_bars, -1)).permute(2, 1, 0)[..., None, None],
        "shared.1.0.weight": read(fast.to_beats).unflatten(0, (s.beats, s.groups, -1)).permute(3, 2, 0, 1).unsqueeze(2),
        "shared.2.0.weight":
            read(fast.to_octaves).unflatten(0, (s.outer, s.group_octaves, -1)).permute(3, 2, 0, 1).unsqueeze(2),
    }
    for i, norm in enumerate((fast.bar_norm, fast.beat_norm, fast.octave_norm)):
        result |= {f"shared.{i}.1.weight": read(norm.weight), f"shared.{i}.1.bias": read(norm.bias)}
    return result | stream_tensors(streams, s, read)


def stream_tensors(streams, s, read) -> dict[str, Tensor]:
    """Those of the private streams and their merge."""
    result = {}
    for k in range(s.n_tracks):
        for stream, i, weight, norm, n_places in (
            ("pitch_time", 0, streams.pitch_1, streams.pitch_norm_1, 12),
            ("pitch_time", 1, streams.time_1, streams.time_norm_1, s.inner),
            ("time_pitch", 0, streams.time_2, streams.time_norm_2, s.inner),
            ("time_pitch", 1, streams.pitch_2, streams.pitch_norm_2, 12),
        ):
            own = read(weight)[k].unflatten(1, (n_places, -1)).transpose(1, 2)[:, :, None]    # [I, C, 1, J]
            along_pitch = (stream, i) in (("pitch_time", 0), ("time_pitch", 1))
            result[f"{stream}.{k}.{i}.0.weight"] = own.unsqueeze(3 if along_pitch else 4)
            result[f"{stream}.{k}.{i}.1.weight"] = read(norm.weight)[k]
            result[f"{stream}.{k}.{i}.1.bias"] = read(norm.bias)[k]
        result[f"merged.{k}.weight"] = read(streams.merge)[:, k].reshape(-1, 1, 1, 1, 1)
        result[f"merged_norm.{k}.weight"] = read(streams.merge_norm.weight)[k : k + 1]
        result[f"merged_norm.{k}.bias"] = read(streams.merge_norm.bias)[k : k + 1]
    return result


def generator_norms(fast) -> list[tuple[str, Tensor, Tensor, str]]:
    """Of each batch norm: its name in a `NaiveGenerator`, the fast one's running moments, the layer before."""
    shared = zip(range(3), (fast.bar_norm, fast.beat_norm, fast.octave_norm))
    result = [(f"shared.{i}.1", norm.running_mean, norm.running_var, f"shared.{i}.0") for i, norm in shared]
    streams = fast.streams
    for k in range(fast.shape.n_tracks):
        for stream, i, norm in (
            ("pitch_time", 0, streams.pitch_norm_1), ("pitch_time", 1, streams.time_norm_1),
            ("time_pitch", 0, streams.time_norm_2), ("time_pitch", 1, streams.pitch_norm_2),
        ):
            name = f"{stream}.{k}.{i}"
            result.append((f"{name}.1", norm.running_mean[k], norm.running_var[k], f"{name}.0"))
        norm = streams.merge_norm
        result.append((f"merged_norm.{k}", norm.running_mean[k : k + 1], norm.running_var[k : k + 1], f"merged.{k}"))
    return result


def discriminator_tensors(fast, read=lambda parameter: parameter) -> dict[str, Tensor]:
    """The parameters of a `NaiveDiscriminator`, from those of the fast one."""
    s, k = fast.shape, fast.shape.n_tracks

    def kernel(weight, *places):    # [D, places * C] -> [D, C, 1, time, pitch]
        return read(weight).unflatten(1, (*places, -1)).permute(0, 3, 1, 2).unsqueeze(2)

    result = {}
    for i in range(k):
        first = (("pitch_time", fast.pitch_1, (1, 12)), ("time_pitch", fast.time_2, (s.inner, 1)))
        for name, layer, places in first:
            if isinstance(layer, nn.Linear):
                w = layer.out_features // k
                result[f"{name}.{i}.0.0.weight"] = kernel(layer.weight, *places)[i * w : (i + 1) * w]
                result[f"{name}.{i}.0.0.bias"] = read(layer.bias)[i * w : (i + 1) * w]
            else:    # of a track that sees itself alone
                result[f"{name}.{i}.0.0.weight"] = kernel(layer[i].weight, *places)
                result[f"{name}.{i}.0.0.bias"] = read(layer[i].bias)
        for name, layer, places in (
            ("pitch_time.{}.1", fast.time_1, (s.inner, 1)), ("time_pitch.{}.1", fast.pitch_2, (1, 12)),
            ("merged_private.{}", fast.merged, (1, 1)),
        ):
            result[f"{name.format(i)}.0.weight"] = kernel(layer[i].weight, *places)
            result[f"{name.format(i)}.0.bias"] = read(layer[i].bias)
    for name, layer, places in (
        ("shared.0.0", fast.from_octaves, (s.outer, s.group_octaves)),
        ("shared.1.0", fast.from_beats, (s.beats, s.groups)),
        ("chroma.0.0", fast.chroma_1, (1, 12)), ("chroma.1.0", fast.chroma_2, (s.beats, 1)),
        ("on_off_set.0.0", fast.edges_1, (s.inner, 1)), ("on_off_set.1.0", fast.edges_2, (s.outer, 1)),
        ("on_off_set.2.0", fast.edges_3, (s.beats, 1)),
    ):
        result |= {f"{name}.weight": kernel(layer.weight, *places), f"{name}.bias": read(layer.bias)}
    weight = read(fast.from_bars.weight).unflatten(1, (s.bars_seen, -1)).transpose(1, 2)
    result |= {"merged.0.weight": weight[..., None, None], "merged.0.bias": read(fast.from_bars.bias)}
    return result | {"score.weight": read(fast.score.weight), "score.bias": read(fast.score.bias)}


@torch.no_grad()
def copy_tensors(naive: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Gives a naive network a fast one's parameters."""
    parameters = dict(naive.named_parameters())
    for name, value in tensors.items():
        parameters[name].copy_(value)


@torch.no_grad()
def copy_moments(naive: nn.Module, norms: list[tuple[str, Tensor, Tensor, str]]) -> None:
    """Gives a naive generator a fast one's running moments; there the biases before a norm are part of the mean."""
    for name, mean, variance, layer in norms:
        norm = naive.get_submodule(name)
        norm.running_mean.copy_(mean + naive.get_submodule(layer).bias)
        norm.running_var.copy_(variance)
