"""Cleanup of rolls (minimal: schema and a scalar reference)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from musegan.ops import _library


def _cleanup_reference(frame: Tensor, onset: Tensor | None, logits: Tensor | None, limits: Tensor):
    n, k, b, t, p = frame.shape
    f = frame.reshape(n, k, b * t, p).clone()
    o = torch.zeros_like(f) if onset is None else onset.reshape(f.shape)
    starts = torch.zeros_like(f)
    strength = torch.zeros(f.shape) if logits is None else logits.reshape(f.shape).double().nan_to_num(-math.inf, math.inf, -math.inf)
    for i in range(n):
        for j in range(k):
            min_steps, max_gap, max_pitches = limits[j].tolist()
            for q in range(p):
                last = None
                column, struck = f[i, j, :, q].tolist(), o[i, j, :, q].tolist()
                start = [c and (s or x == 0 or not column[x - 1]) for x, (c, s) in enumerate(zip(column, struck))]
                for x in range(b * t):
                    if not column[x]:
                        continue
                    if last is not None and 0 < x - last - 1 <= max_gap:
                        for y in range(last + 1, x):
                            column[y] = True
                        start[x] = False
                    last = x
                f[i, j, :, q] = torch.tensor(column, dtype=torch.bool)
                starts[i, j, :, q] = torch.tensor(start, dtype=torch.bool)
            for x in range(b * t):
                sounding = f[i, j, x].nonzero().flatten().tolist()
                order = sorted(sounding, key=lambda q: (-strength[i, j, x, q].item(), q))
                if max_pitches < 128:
                    for q in order[max_pitches:]:
                        f[i, j, x, q] = False
            for q in range(p):
                column, start = f[i, j, :, q].tolist(), starts[i, j, :, q].tolist()
                start = [c and (s or x == 0 or not column[x - 1]) for x, (c, s) in enumerate(zip(column, start))]
                for x in range(b * t):
                    if start[x]:
                        end = x + 1
                        while end < b * t and column[end] and not start[end]:
                            end += 1
                        if end - x < min_steps:
                            f[i, j, x:end, q] = False
                            start[x] = False
                starts[i, j, :, q] = torch.tensor(start, dtype=torch.bool)
    kept = f.reshape(frame.shape)
    return kept, starts.reshape(frame.shape) if onset is not None else frame.new_empty(0)


def _fake(frame, onset, logits, limits):
    return torch.empty_like(frame), torch.empty_like(frame) if onset is not None else frame.new_empty(0)


_library.define(
    "cleanup(Tensor frame, Tensor? onset, Tensor? logits, Tensor limits) -> (Tensor, Tensor)", _cleanup_reference, _fake
)
