"""Melodies and bands from a model: the same for the same seed, of the bars asked for, from a beginning that stays."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import musegan.sequences
from musegan.errors import UserError
from musegan.keys import SCALE, Key
from musegan.ops import notes
from musegan.sampling import exact
from musegan.sequences import Choice, draw_tokens, sample
from musegan.tokens import END, FIRST_PITCH
from tests.models.test_sequence import CONFIGS, model_of

SHIFTS = (0,) * 5 + (1,) + (0,) * 6    # of music in C major alone


def one_key(model):
    """The model, as if trained on music moved to C major."""
    model.facts = type(model.facts)(key_shifts=SHIFTS)
    return model


@pytest.mark.parametrize("encoding", ["grid", "events", "tracks"])
@pytest.mark.parametrize("name", CONFIGS)
def test_music_depends_on_seed_and_number_alone(name, encoding, monkeypatch):
    monkeypatch.setattr(musegan.sequences, "_N_DRAWS", 7)    # random numbers run out, and more are drawn
    model = model_of(name, encoding)
    together = sample(model, 5, 2, seed=3)
    alone = [sample(model, 1, 2, seed=3, first_sample=i) for i in range(5)]
    monkeypatch.setattr(musegan.sequences, "_BATCH", 2)
    monkeypatch.setattr(musegan.sequences, "_N_DRAWS", 64)
    parts = sample(model, 5, 2, seed=3)
    for plane, single, part in zip(together, (torch.cat(planes) for planes in zip(*alone)), parts):
        assert torch.equal(plane, single) and torch.equal(plane, part)
    assert not torch.equal(together.onset, sample(model, 5, 2, seed=4).onset)
    assert len({tuple(row.flatten().tolist()) for row in together.onset}) == 5


@pytest.mark.parametrize("n_bars, sizes", [(1, [4, 1]), (2, [3, 2]), (6, [1] * 5), (9, [1] * 5)])
def test_fewer_long_ones_are_made_at_a_time(n_bars, sizes, monkeypatch):
    found = []
    monkeypatch.setattr(musegan.sequences, "_BATCH", 4)
    monkeypatch.setattr(musegan.sequences, "_BATCH_BARS", 6)
    monkeypatch.setattr(musegan.sequences, "draw_tokens",
                        lambda *given: found.append(len(given[1])) or draw_tokens(*given))
    assert len(sample(model_of("gru"), 5, n_bars, 0).frame) == 5 and found == sizes


@pytest.mark.parametrize("encoding", ["events", "tracks"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_over_takes_no_part(name, encoding, monkeypatch):
    """Sequences of unequal lengths, each as it is alone; fewer and fewer are read."""
    model, n_read = exact(model_of(name, encoding)), []
    step = type(model).step
    monkeypatch.setattr(type(model), "step", lambda *given: n_read.append(len(given[1])) or step(*given))
    prime = model.vocabulary.encode(np.array([[3, 0, 4]]), 8)
    together = draw_tokens(model, range(9), 48, 0, prime=prime)
    sizes = list(n_read)
    lengths = (together != END).sum(1).tolist()
    for i, (row, length) in enumerate(zip(together, lengths)):
        alone = draw_tokens(model, [i], 48, 0, prime=prime)[0]
        assert torch.equal(row[:length], alone) and (row[length:] == END).all()
    assert len(set(lengths)) > 3 and sizes == sorted(sizes, reverse=True) and sizes[0] == 9 and sizes[-1] <= 3
    assert sum(sizes) < 4 / 3 * sum(length - 1 - len(model.vocabulary.open_ended(prime)) for length in lengths)


@pytest.mark.parametrize("encoding", ["grid", "events", "tracks"])
@given(n_bars=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_music_lasts_the_bars_that_were_asked_for(encoding, n_bars, seed):
    model = exact(model_of("gru", encoding))
    tokens = draw_tokens(model, [seed], n_bars * 16, 0)[0].numpy()
    assert int(model.vocabulary.lasting[tokens].sum()) == n_bars * 16 and END not in tokens
    model.vocabulary.decode(tokens)    # within the grammar
    roll = sample(model, 1, n_bars, 0, first_sample=seed)
    assert roll.frame.shape == (1, model.spec.n_tracks, n_bars, 16, 20)
    if model.monophonic:
        assert int(roll.frame.sum(-1).max()) == 1
    else:    # a hit of the drums has no length
        assert torch.equal(roll.frame[:, 0], roll.onset[:, 0])


def pitch_classes(frame, spec):
    return set(((frame.nonzero()[:, -1] + spec.lowest_pitch) % 12).tolist())


@pytest.mark.parametrize("encoding", ["grid", "tracks"])
def test_nothing_outside_the_scale_is_chosen(encoding):
    model, is_pitched = one_key(model_of("gru", encoding)), slice(None) if encoding == "grid" else slice(1, None)
    everything, in_c = (sample(model, 4, 4, 0, only_scale=only) for only in (False, True))
    classes = [pitch_classes(roll.frame[:, is_pitched], model.spec) for roll in (everything, in_c)]
    assert classes[0] - set(SCALE) and not classes[1] - set(SCALE)
    in_d = sample(model, 4, 4, 0, key=Key.parse("D major"), only_scale=True)
    assert torch.equal(in_d.frame[:, is_pitched, ..., 2:], in_c.frame[:, is_pitched, ..., :-2])
    if encoding == "tracks":    # drums have no key
        assert pitch_classes(in_c.frame[:, 0], model.spec) - set(SCALE)
        assert torch.equal(in_d.frame[:, 0], in_c.frame[:, 0])


@pytest.mark.parametrize("encoding", ["grid", "events"])
def test_a_beginning_is_kept(encoding):
    model = model_of("rotary", encoding)
    line = np.array([[3, 0, 4], [5, 6, 16]])
    prime = model.vocabulary.encode(line, 16)
    roll = sample(model, 3, 3, 1, prime=prime)
    for melody in roll.phrases():
        found = notes(melody.map(lambda plane: plane[None, :, :1]))[:, 2:]
        assert found.tolist() == line.tolist()
    assert not torch.equal(roll.frame[0], roll.frame[1])
    assert torch.equal(roll.frame[:1], sample(model, 1, 3, 1, prime=prime).frame)


def test_what_comes_after_a_beginning_may_come_late():
    """The way from its last note is as long as the model has it, given that nothing else starts within the beginning."""
    model = exact(model_of("gru", "tracks"))
    vocabulary, n = model.vocabulary, 2000
    prime = vocabulary.encode(np.array([[25, 0, 4]]), 16 + 8)
    tokens = draw_tokens(model, range(n), 64, 0, prime=prime)
    assert (tokens[:, :4] == torch.tensor([0, *prime[:3]])).all() and vocabulary.lasting[prime[2:]].tolist() == [16, 8]
    logits = model(tokens[:1, :4])[0, -1]
    wanted = torch.where(vocabulary.lasting >= 8, logits, -torch.inf).softmax(0)
    found = torch.bincount(tokens[:, 4], minlength=vocabulary.size) / n
    assert (found - wanted).abs().max() < 0.03 and found[-1] > 0.03    # of these, over a bar
    silent = vocabulary.encode(np.zeros((0, 3), np.int64), 24)
    starts = {vocabulary.decode(row[row != END].numpy())[0, 1] for row in draw_tokens(model, range(64), 64, 0, prime=silent)}
    assert min(starts) == 24 and len(starts) > 6


def test_choices_by_hand():
    logits = torch.tensor([[0.5, 0.1, 0.3, 0.1, 0.0]], dtype=torch.float64).log()
    near = {"rtol": 0, "atol": 1e-12}
    whole = torch.tensor([[0.5, 0.1, 0.3, 0.1, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(Choice().probabilities(logits), whole, **near)
    for choice in (Choice(top_k=2), Choice(top_p=0.79), Choice(top_p=0.51), Choice(top_k=3, top_p=0.6)):
        two = torch.tensor([[5 / 8, 0, 3 / 8, 0, 0]], dtype=torch.float64)
        torch.testing.assert_close(choice.probabilities(logits), two, **near)
    one = torch.tensor([[1.0, 0, 0, 0, 0]], dtype=torch.float64)
    for choice in (Choice(temperature=0), Choice(top_k=1), Choice(top_p=0.5), Choice(temperature=0.01),
                   Choice(temperature=1e-320)):    # fmt: skip
        torch.testing.assert_close(choice.probabilities(logits), one, **near)
    squared = torch.tensor([[25, 1, 9, 1, 0]], dtype=torch.float64) / 36
    torch.testing.assert_close(Choice(temperature=0.5).probabilities(logits), squared, **near)


def test_nothing_is_left_out_in_any_order():
    """All tokens by a way of their own: as many as there are, likewise by rank."""
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    logits[:, ::4] = -torch.inf
    for temperature in (0.01, 0.5, 1.0, 3.0):
        found, ranked = (Choice(temperature, top_k=k).probabilities(logits) for k in (0, 30))
        torch.testing.assert_close(found, ranked, rtol=0, atol=1e-14)
        assert (found[:, ::4] == 0).all()


def test_tokens_come_as_often_as_they_are_likely():
    """The first token of many melodies beside the model's own probabilities of what may begin one."""
    model = exact(model_of("lstm"))
    first = draw_tokens(model, range(2000), 1, 5)[:, 1]
    logits = model(torch.zeros(1, 1, dtype=torch.int64))[0, -1]
    allowed = model.vocabulary.follows[0] & (torch.arange(model.vocabulary.size) != END)
    wanted = torch.where(allowed, logits, -torch.inf).softmax(0)
    found = torch.bincount(first, minlength=model.vocabulary.size) / 2000
    assert (found - wanted).abs().max() < 0.03 and found[FIRST_PITCH:].max() > 0


@pytest.mark.parametrize("choice, message", [
    ({"temperature": -1}, "--temperature must be at least 0: got -1"),
    ({"temperature": float("nan")}, "--temperature must be at least 0: got nan"),
    ({"top_k": -2}, "--top-k must be at least 0: got -2"),
    ({"top_p": 0}, r"--top-p must lie in \(0, 1\]: got 0"),
])
def test_choices_out_of_range(choice, message):
    with pytest.raises(UserError, match=message):
        Choice(**choice)


def test_lengths_out_of_range():
    with pytest.raises(UserError, match="--bars must be 1 to 1024: got 0"):
        sample(model_of("gru"), 1, 0, 0)
    assert sample(model_of("gru"), 0, 2, 0).frame.shape == (0, 1, 2, 16, 20)
