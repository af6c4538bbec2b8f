"""BinaryMuseGAN's networks as written, layer by layer from torch's convolutions; see `naive_v3`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.naive_v3 import NaiveDiscriminator, conv_layer, norm, stream_tensors, tconv, tconv_layer


class NaiveBody(nn.Module):
    """[N, Z] -> log-odds [N, K, B, T, P]."""

    def __init__(self, s, latent_size=128, width=512):
        super().__init__()
        self.s, w, see = s, width, min(2, s.bars)
        self.pairs = s.bars + 1 - see
        kernel, stride = (1, 1, s.group_octaves), (1, 1, min(2, s.group_octaves))
        self.dense, self.dense_norm = nn.Linear(latent_size, self.pairs * w), norm(w)              # 3, 1, 1
        self.shared = nn.ModuleList([
            tconv_layer(w, w // 2, (see, 1, 1), (1, 1, 1)),                                        # 4, 1, 1
            tconv_layer(w // 2, w // 4, (1, s.beats, 1)),                                          # 4, 4, 1
            tconv_layer(w // 4, w // 4, (1, 1, s.groups)),                                         # 4, 4, 3
            tconv_layer(w // 4, w // 8, (1, s.outer, 1)),                                          # 4, 16, 3
            tconv_layer(w // 8, w // 8, kernel, stride),                                           # 4, 16, 7
        ])
        self.pitch_time = nn.ModuleList(nn.Sequential(
            tconv_layer(w // 8, w // 8, (1, 1, 12)),                                               # 4, 16, 84
            tconv_layer(w // 8, w // 16, (1, s.inner, 1)),                                         # 4, 96, 84
        ) for _ in range(s.tracks))
        self.time_pitch = nn.ModuleList(nn.Sequential(
            tconv_layer(w // 8, w // 8, (1, s.inner, 1)),                                          # 4, 96, 7
            tconv_layer(w // 8, w // 16, (1, 1, 12)),                                              # 4, 96, 84
        ) for _ in range(s.tracks))
        self.merged = nn.ModuleList(tconv(w // 8, 1, (1, 1, 1)) for _ in range(s.tracks))
        self.merged_norm = nn.ModuleList(norm(1) for _ in range(s.tracks))

    def forward(self, z: Tensor) -> Tensor:
        s = self.s
        h = self.dense(z).unflatten(1, (self.pairs, -1)).transpose(1, 2)[..., None, None]    # [N, 512, B - 1, 1, 1]
        h = self.dense_norm(h).relu()
        for i, layer in enumerate(self.shared):
            h = layer[0](h)
            if i == 4:
                h = h[..., : s.octaves]
            h = layer[2](layer[1](h))
        tracks = []
        for k in range(s.tracks):
            own = self.merged[k](torch.cat([self.pitch_time[k](h), self.time_pitch[k](h)], dim=1))
            tracks.append(self.merged_norm[k](own[..., : s.pitches]))
        return torch.cat(tracks, dim=1)


class NaiveRefiner(nn.Module):
    """[N, K, B, T, P] -> the same, before the neurons."""

    def __init__(self, n_tracks, width=64):
        super().__init__()
        self.tracks = nn.ModuleList(nn.ModuleList(nn.ModuleList([
            norm(1), nn.Conv3d(1, width, (1, 3, 12)), norm(width), nn.Conv3d(width, 1, (1, 3, 12)),
        ]) for _ in range(2)) for _ in range(n_tracks))

    def forward(self, p: Tensor) -> Tensor:
        result = []
        for blocks, x in zip(self.tracks, p.split(1, dim=1)):
            for norm_1, conv_1, norm_2, conv_2 in blocks:
                h = conv_1(F.pad(norm_1(x).relu(), (5, 6, 1, 1)))
                x = x + conv_2(F.pad(norm_2(h).relu(), (5, 6, 1, 1)))
            result.append(x)
        return torch.cat(result, dim=1)


class NaiveBDiscriminator(NaiveDiscriminator):
    """[N, B, T, K * P] in [0, 1] -> [N]."""

    def __init__(self, s, drums, width=512):
        w, k = width // 16, s.tracks
        super().__init__(s, width)
        self.drums = drums
        self.pitch_time = nn.ModuleList(nn.Sequential(
            conv_layer(1, w, (1, 1, 12)), conv_layer(w, 2 * w, (1, s.inner, 1)),
        ) for _ in range(k))
        self.time_pitch = nn.ModuleList(nn.Sequential(
            conv_layer(1, w, (1, s.inner, 1)), conv_layer(w, 2 * w, (1, 1, 12)),
        ) for _ in range(k))
        self.merged_private = nn.ModuleList(conv_layer(4 * w, 2 * w, (1, 1, 1)) for _ in range(k))
        self.shared = nn.Sequential(
            conv_layer(k * 2 * w, 4 * w, *s.octave_kernel), conv_layer(4 * w, 8 * w, (1, s.beats, s.groups)),
        )
        self.chroma = nn.Sequential(conv_layer(k, 2 * w, (1, 1, 12)), conv_layer(2 * w, 4 * w, (1, s.beats, 1)))
        self.on_off_set = nn.Sequential(
            conv_layer(k, w, (1, s.inner, 1)),
            conv_layer(w, 2 * w, (1, s.outer, 1)),
            conv_layer(2 * w, 4 * w, (1, s.beats, 1)),
        )
        self.merged = conv_layer(16 * w, 16 * w, (min(2, s.bars), 1, 1), (1, 1, 1))

    def seen(self, features):
        x = features.unflatten(-1, (self.s.tracks, self.s.pitches)).permute(0, 3, 1, 2, 4)
        return F.pad(x, (0, 12 * self.s.octaves - self.s.pitches))

    def edges(self, x):
        before = F.pad(x[:, :, :, :-1], (0, 0, 1, 0))
        before[:, self.drums] = 0
        return x - before

    def own(self, x, k):
        return x[:, k : k + 1]


def body_tensors(fast, read=lambda parameter: parameter) -> dict[str, Tensor]:
    """The parameters of a `NaiveBody`, biases before batch norm apart, from those of the fast one."""
    s = fast.shape
    result = {"dense.weight": read(fast.to_pairs.weight), "dense.bias": read(fast.to_pairs.bias)}
    for i, (weight, places) in enumerate((
        (fast.to_bars, (s.bars_seen, 1, 1)), (fast.to_beats, (1, s.beats, 1)), (fast.to_groups, (1, 1, s.groups)),
        (fast.to_steps, (1, s.outer, 1)), (fast.to_octaves, (1, 1, s.group_octaves)),
    )):    # fmt: skip
        result[f"shared.{i}.0.weight"] = read(weight).unflatten(0, (*places, -1)).permute(4, 3, 0, 1, 2)
    for name, own in body_norms(fast):
        result |= {f"{name}.weight": read(own.weight), f"{name}.bias": read(own.bias)}
    return result | stream_tensors(fast.streams, s, read)


def body_norms(fast) -> list:
    """The shared layers' batch norms with their names in a `NaiveBody`."""
    shared = (fast.bar_norm, fast.beat_norm, fast.group_norm, fast.step_norm, fast.octave_norm)
    return [("dense_norm", fast.pair_norm), *((f"shared.{i}.1", own) for i, own in enumerate(shared))]


def refiner_tensors(fast, read=lambda parameter: parameter) -> dict[str, Tensor]:
    """The parameters of a `NaiveRefiner`, biases before batch norm apart."""
    result = {}
    for k, blocks in enumerate(fast.tracks):
        for i, block in enumerate(blocks):
            for j, layer in enumerate((block.norm_1, block.conv_1, block.norm_2, block.conv_2)):
                name = f"tracks.{k}.{i}.{j}"
                result[f"{name}.weight"] = read(layer.weight) if j % 2 == 0 else read(layer.weight).unsqueeze(2)
                if layer.bias is not None:
                    result[f"{name}.bias"] = read(layer.bias)
    return result
