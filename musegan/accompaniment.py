"""Tracks in any key and of any length, and what a generator plays to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.keys import in_scale, key_shifts, median_pitches, pitch_class_weights, transpose, transpose_tracks
from musegan.latents import piece, series, truncate
from musegan.models import Generator
from musegan.roll import Roll, check_roll
from musegan.sampling import GivenRoll, drawn_shifts, exact, render

ALWAYS_SOUNDS = 0.9    # share of the steps: a line with more hardly rests


def accompany(
    model: Generator,
    roll: Roll,
    tracks: Tensor,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    decoding: Decoding = Decoding(),
    truncation: float = 1.0,
    only_scale: bool = False,
    shifts: Tensor | None = None,
    in_training_key: bool = False,
) -> Roll:
    """Makes the tracks that are not given, to those that are.

    What is given is moved to the key that the model was trained in, what is made is moved back: by `shifts`, or else by the
    key of the given pitched tracks, over all bars, or, where only drums are given, by the shift of a real phrase that is
    drawn. A model of any length makes all bars in one go; others go phrase by phrase, the last one filled up with silence.

    A model does not listen to what it never heard: of the tracks that play one note at a time, one that lies in another octave
    than in the training data is heard in that octave, and one that hardly rests there is heard without its short rests.

    Args:
        model: one that accompanies.
        roll: planes [N, K, B, T, P] bool, in any keys, B of 1 or more; what it holds of other tracks does not count.
        tracks: [K] or [N, K] bool, which are given.
        seed: the same seed and number give the same accompaniment.
        numbers: [N] which one; by default 0 to N - 1.
        decoding: how logits become notes.
        truncation: see `musegan.latents.truncate`.
        only_scale: leave out notes of the tracks that are made which are not in the scale of the key.
        shifts: [N] int64, semitones by which the key of what is given lies above C major / A minor; by default it is found.
        in_training_key: what is given is as the model needs it already: nothing is moved or held.
    Returns:
        planes [N, K, B, T, P] bool; given tracks are to the bit what they were, in whatever range.
    Raises:
        UserError: the model does not accompany.
        ValueError, TypeError: see `musegan.roll.check_roll`; `tracks` has another shape, or is not bool.
    """
    if not model.accompanies:
        raise UserError("this model takes no given tracks; train one that does with: --model.accompaniment true")
    check_roll(roll, model.spec)
    n, k = roll.frame.shape[:2]
    tracks = torch.as_tensor(tracks)
    if tracks.shape not in ((k,), (n, k)):
        raise ValueError(f"tracks: expected [K={k}] or [N={n}, K={k}], got {list(tracks.shape)}")
    if tracks.dtype != torch.bool:
        raise TypeError(f"tracks must be bool: got {tracks.dtype}")
    tracks = tracks.expand(n, k)
    numbers = list(range(n)) if numbers is None else list(numbers)
    if not n or not roll.frame.shape[2]:
        return roll.map(torch.clone)
    model = exact(model)
    given = roll.map(lambda plane: plane & tracks[:, :, None, None, None])
    if in_training_key:
        shifts = torch.zeros(n, dtype=torch.int64)
    elif shifts is None:
        shifts = _shifts(model, given.frame, seed, numbers)
    moves = shifts if model.facts.key_shifts else torch.zeros_like(shifts)    # others play in any key
    home = given if in_training_key else _as_in_training(model, given, moves)
    if model.any_length:
        latents = torch.cat([piece(model, home.frame.shape[2], None, seed, number) for number in numbers])
        made = render(model, truncate(latents, truncation), seed, numbers, decoding, GivenRoll(home, tracks))
    else:
        made = _phrase_by_phrase(model, GivenRoll(home, tracks), seed, numbers, decoding, truncation)
    made = transpose(made, moves, model.spec)
    if only_scale:
        made = in_scale(made, shifts, model.spec)
    return Roll(*(torch.where(tracks[:, :, None, None, None], own, new) for own, new in zip(roll, made)))


def _shifts(model: Generator, given: Tensor, seed: int, numbers: Sequence[int]) -> Tensor:
    """[N] semitones by which what is given lies above C major / A minor."""
    found = key_shifts(given, model.spec)
    if not model.facts.key_shifts:
        return found
    has_pitch = pitch_class_weights(given, model.spec).sum(1) > 0
    return torch.where(has_pitch, found, drawn_shifts(model, numbers, seed))


def _as_in_training(model: Generator, given: Roll, shifts: Tensor) -> Roll:
    """Given tracks as the model has heard their like: in the training key, and lines in their octave and held.

    Args:
        given: planes [N, K, B, T, P] bool.
        shifts: [N] int64, by which they are moved down.
    """
    facts, moves = model.facts, -shifts[:, None].expand(-1, model.spec.n_tracks)    # [N, K]
    is_line = torch.tensor([head == "mono" for head in model.layout.heads])
    if facts.median_pitch:    # of other tracks it has heard all octaves
        pitches, usual = median_pitches(given.frame.sum((2, 3)), model.spec), torch.tensor(facts.median_pitch)
        octaves = ((usual - pitches - moves) / 12).round().long()
        moves = moves + torch.where(is_line & (pitches > 0) & (usual > 0), 12 * octaves, 0)
    given = transpose_tracks(given, moves, model.spec)
    if facts.frame_density:
        never_rests = is_line & (torch.tensor(facts.frame_density) >= ALWAYS_SOUNDS)
        given.frame[:, never_rests] = _held(given.frame[:, never_rests])
    return given


def _held(frame: Tensor) -> Tensor:
    """Lines [N, K, B, T, P] whose rests of less than a bar, from note to note, are filled by what sounded before."""
    n_steps, line = frame.shape[3], frame.flatten(2, 3)    # [N, K, B * T, P]
    sounds, step = line.any(-1), torch.arange(line.shape[2])    # [N, K, B * T]
    last = torch.where(sounds, step, -1).cummax(-1).values
    following = torch.where(sounds, step, len(step) + n_steps).flip(-1).cummin(-1).values.flip(-1)
    is_short = ~sounds & (last >= 0) & (following - last <= n_steps)
    source = torch.where(is_short, last, step)
    return line.gather(2, source[..., None].expand_as(line)).view_as(frame)


def _phrase_by_phrase(
    model: Generator, given: GivenRoll, seed: int, numbers: Sequence[int], decoding: Decoding, truncation: float
) -> Roll:
    n, _, n_bars = given.roll.frame.shape[:3]
    n_phrases = -(-n_bars // model.n_bars)
    missing = n_phrases * model.n_bars - n_bars

    def cut(plane: Tensor) -> Tensor:
        plane = torch.nn.functional.pad(plane, (0, 0, 0, 0, 0, missing))    # [N, K, phrases * B, T, P]
        return plane.unflatten(2, (n_phrases, -1)).transpose(1, 2).flatten(0, 1)    # [N * phrases, K, B, T, P]

    def joined(plane: Tensor) -> Tensor:
        return plane.unflatten(0, (n, n_phrases)).transpose(1, 2).flatten(2, 3)[:, :, :n_bars]    # [N, K, bars, T, P]

    latents = truncate(torch.cat([series(model, n_phrases, seed, number) for number in numbers]), truncation)
    rows = GivenRoll(given.roll.map(cut), given.tracks.repeat_interleave(n_phrases, 0))
    # Each phrase of a piece has a part of the random stream of its own, and the first that of the sample.
    places = [number + (j << 32) for number in numbers for j in range(n_phrases)]
    return render(model, latents, seed, places, decoding, rows).map(joined)
