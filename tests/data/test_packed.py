"""Packed data sets: written, read, and refused when broken."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from musegan.data import packed
from musegan.data.dataset import PackedDataset, split_pieces
from musegan.data.packed import DatasetError, ShardWriter, pack, read_pieces, write_shard
from musegan.errors import UserError
from musegan.roll import PRESETS, RollSpec
from tests.data.songs import bars_of, unpacked

SPEC = RollSpec(PRESETS["lpd5"])


def bars(bar_numbers, seed=0, spec=SPEC):
    rng = np.random.default_rng(seed)
    shape = (len(bar_numbers), spec.n_tracks, spec.steps_per_bar, spec.n_pitches)
    frame = rng.random(shape) < 0.1
    tempo = rng.uniform(60, 200, len(bar_numbers)).astype(np.float32)
    return bars_of(frame, frame & (rng.random(shape) < 0.5), bar_numbers, tempo)


def piece(name, bar_numbers, seed=0, spec=SPEC):
    return pack(name, [bars(bar_numbers, seed, spec)], spec)


@pytest.fixture
def folder(tmp_path):
    """Three pieces in two shards: a has bars 0-3 and 6-7, b bars 2-4, c bar 0."""
    a, b, c = piece("a", [0, 1, 2, 3, 6, 7], 1), piece("b", [2, 3, 4], 2), piece("c", [0], 3)
    write_shard(tmp_path / "shard-00000.safetensors", SPEC, [a, b])
    write_shard(tmp_path / "shard-00001.safetensors", SPEC, [c])
    return tmp_path


def test_what_is_read_is_what_was_written(folder):
    dataset = PackedDataset.open(folder)
    written = [bars([0, 1, 2, 3, 6, 7], 1), bars([2, 3, 4], 2), bars([0], 3)]
    assert (dataset.spec, dataset.n_bars, dataset.pieces) == (SPEC, 10, ["a", "b", "c"])
    assert dataset.tempo_bpm.tolist() == np.concatenate([each.tempo_bpm for each in written]).tolist()
    roll = dataset.roll(torch.arange(10), 1)
    for name in ("frame", "onset"):
        plane = getattr(roll, name)
        assert plane.dtype == torch.bool and plane.shape == (10, 5, 1, 16, 84)
        planes = [unpacked(getattr(each, name), SPEC) for each in written]
        assert np.array_equal(plane[:, :, 0].numpy(), np.concatenate(planes))


def test_phrases_lie_within_runs(folder):
    dataset = PackedDataset.open(folder)
    assert dataset.phrase_starts(1).tolist() == list(range(10))
    assert dataset.phrase_starts(2).tolist() == [0, 1, 2, 4, 6, 7]
    assert dataset.phrase_starts(4).tolist() == [0]
    assert dataset.phrase_starts(5).tolist() == []
    assert dataset.piece_of(torch.tensor([0, 5, 6, 8, 9])).tolist() == [0, 0, 1, 1, 2]


def test_phrases_are_consecutive_bars(folder):
    dataset = PackedDataset.open(folder)
    starts = torch.tensor([7, 0])
    phrases, single = dataset.roll(starts, 2), dataset.roll(torch.arange(10), 1)
    for phrase, bar in zip(phrases, single):
        assert torch.equal(phrase[0, :, 1], bar[8, :, 0]) and torch.equal(phrase[1, :, 0], bar[0, :, 0])


def test_no_phrases(folder):
    assert PackedDataset.open(folder).roll(torch.empty(0, dtype=torch.int64), 4).frame.shape == (0, 5, 4, 16, 84)


def test_phrases_beyond_the_end_are_refused(folder):
    with pytest.raises(IndexError, match="within the 10 bars"):
        PackedDataset.open(folder).roll(torch.tensor([9]), 2)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_packing_is_exact_for_any_number_of_pitches(tmp_path_factory, n_pitches, seed):
    spec = RollSpec(PRESETS["satb"], 1, 2, 60, n_pitches)
    written, path = bars([0, 1, 5], seed, spec), tmp_path_factory.mktemp("pitches")
    write_shard(path / "shard-00000.safetensors", spec, [pack("a", [written], spec)])
    roll = PackedDataset.open(path).roll(torch.arange(3), 1)
    assert np.array_equal(roll.frame[:, :, 0].numpy(), unpacked(written.frame, spec))
    assert np.array_equal(roll.onset[:, :, 0].numpy(), unpacked(written.onset, spec))


def test_a_shard_that_cannot_be_written_is_one_line(tmp_path):
    path = tmp_path / "gone" / "shard-00000.safetensors"
    with pytest.raises(UserError, match=f"cannot write {path}: .*No such file"):
        write_shard(path, SPEC, [piece("a", [0, 1], 1)])


def test_the_same_pieces_give_the_same_bytes(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("again") / "shard-00000.safetensors"
    for _ in range(5):
        pieces = [piece("a", [0, 1, 2, 3, 6, 7], 1), piece("b", [2, 3, 4], 2)]
        write_shard(other, SPEC, pieces)
        assert other.read_bytes() == (folder / "shard-00000.safetensors").read_bytes()


def test_shards_are_filled_and_pieces_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_SHARD_BARS", 5)
    writer = ShardWriter(tmp_path, SPEC)
    for seed, (name, n_bars) in enumerate((("a", 2), ("b", 3), ("c", 1), ("d", 9), ("e", 1))):
        writer.add(piece(name, range(n_bars), seed))
    writer.close()
    shards = sorted(tmp_path.iterdir())
    opened = [packed.read_shard(path) for path in shards]
    assert [shard.pieces for shard in opened] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert PackedDataset.open(tmp_path).n_bars == 16


def test_reading_maps_the_file(tmp_path):
    """A shard of 90 MB is opened and read here and there without taking its size in memory."""
    same = bars(range(64))
    pieces = [pack(str(i), [same], SPEC, "keep") for i in range(400)]
    write_shard(tmp_path / "shard-00000.safetensors", SPEC, pieces)
    size = (tmp_path / "shard-00000.safetensors").stat().st_size
    assert size > 40e6

    def resident():
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous"))

    del pieces
    before = resident()
    dataset = PackedDataset.open(tmp_path)
    for start in range(0, dataset.n_bars - 4, 97):
        dataset.roll(torch.tensor([start]), 4)
    assert resident() - before < size / 4


def rewrite(path, header=None, **tensors):
    """Writes a shard anew with some tensors, or parts of its header, replaced."""
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["musegan"]
    metadata = json.dumps(json.loads(metadata) | (header or {}))
    kept = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    save_file(kept, path, metadata={"musegan": metadata})


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "shard-00000.safetensors: .*header"),
    "text": (lambda path: path.write_text("no shard, a text file about shards"), "shard-00000.safetensors: .*header"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "shard-00000.safetensors: .*"),
    "no tempo": (lambda path: rewrite(path, tempo_bpm=None), "no tensor 'tempo_bpm'"),
    "of floats": (lambda path: rewrite(path, frame=np.zeros((9, 5, 16, 11), np.float32)), "frame: expected .*uint8"),
    "of other shape": (lambda path: rewrite(path, onset=np.zeros((9, 5, 16, 12), np.uint8)), r"onset: .* 11\], got"),
    "falling runs": (lambda path: rewrite(path, run_offsets=np.array([0, 6, 4, 9])), "run_offsets must rise"),
    "runs too long": (lambda path: rewrite(path, run_offsets=np.array([0, 4, 6, 10])), "rise .* 9 bars"),
    "unknown piece": (lambda path: rewrite(path, run_pieces=np.array([0, 0, 2])), "must be below the 2 pieces"),
    "no tempo at all": (lambda path: rewrite(path, tempo_bpm=np.full(9, np.nan, np.float32)), "must be positive"),
    "another version": (lambda path: rewrite(path, {"version": 1}),
                        "version 1 of the format; this musegan reads 2: make it again"),
    "no digests": (lambda path: rewrite(path, digests=None), "no tensor 'digests'"),
    "digests of another length": (lambda path: rewrite(path, digests=np.zeros((2, 8), np.uint8)),
                                  r"digests: .* \[2, 16\], got .* \[2, 8\]"),
    "a digest too few": (lambda path: rewrite(path, digests=np.zeros((1, 16), np.uint8)),
                         r"digests: .* \[2, 16\], got .* \[1, 16\]"),
    "digests of words": (lambda path: rewrite(path, digests=np.zeros((2, 16), np.int64)), "digests: expected torch.uint8"),
    "pieces out of order": (lambda path: rewrite(path, run_pieces=np.array([1, 0, 0])), "run_pieces must ascend"),
    "another format": (lambda path: rewrite(path, {"format": "x"}), "not a shard of a musegan data set"),
    "spoilt spec": (lambda path: rewrite(path, {"spec": {"tracks": []}}), "tracks must not be empty"),
    "nested too deep": (
        lambda path: save_file(load_file(path), path, metadata={"musegan": "[" * 100_000}), "recursion depth"
    ),
    "spoilt pieces": (lambda path: rewrite(path, {"pieces": [1, 2]}), "the list of pieces is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(folder, damage):
    damaging, message = DAMAGE[damage]
    damaging(folder / "shard-00000.safetensors")
    with pytest.raises(DatasetError, match=message) as caught:
        PackedDataset.open(folder)
    assert "shard-00000.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_shards_of_two_specs_are_refused(folder):
    spec = RollSpec(PRESETS["lpd5"], lowest_pitch=25)
    write_shard(folder / "shard-00001.safetensors", spec, [piece("c", [0], 3)])
    with pytest.raises(DatasetError, match="shard-00001.safetensors: its spec differs from that of shard-00000"):
        PackedDataset.open(folder)


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="holds no shard"):
        PackedDataset.open(tmp_path)
    with pytest.raises(DatasetError, match="there is no such folder"):
        PackedDataset.open(tmp_path / "nowhere")


def equal(first, second):
    """Whether two pieces are the same, but for `lowest`, which a shard does not hold."""
    return all(np.array_equal(a, b) for a, b in zip(first[:-1], second[:-1]))


def test_read_pieces_gives_what_was_written(folder):
    written = [piece("a", [0, 1, 2, 3, 6, 7], 1), piece("b", [2, 3, 4], 2)]
    read = list(read_pieces(folder / "shard-00000.safetensors"))
    assert len(read) == 2 and all(map(equal, written, read))
    assert [each.run_offsets.tolist() for each in read] == [[0, 4, 6], [0, 3]]
    assert [each.run_first_bar.tolist() for each in read] == [[0, 6], [2]]


def test_songs_of_one_piece_are_kept_apart():
    parts = [bars([0, 1], 1), bars([0, 2], 2), bars([1], 3)]
    joined = pack("a", parts, SPEC)
    assert joined.run_offsets.tolist() == [0, 2, 3, 4, 5]
    assert joined.run_first_bar.tolist() == [0, 3, 5, 8]
    assert np.array_equal(joined.frame, np.concatenate([each.frame for each in parts]))


def melody(*notes, bar_numbers=(0, 1), track=1):
    """Two bars of notes: start and end step in them, pitch index, and whether there is an onset."""
    frame = np.zeros((5, 32, 84), bool)
    onset = np.zeros_like(frame)
    frame[0, 0::4, 12] = onset[0, 0::4, 12] = True    # drums
    for start, end, pitch, *without in notes:
        frame[track, start:end, pitch] = True
        onset[track, start, pitch] = not without
    return bars_of(*(plane.reshape(5, 2, 16, 84).swapaxes(0, 1) for plane in (frame, onset)), bar_numbers)


TUNE = ((0, 4, 40), (4, 8, 44), (8, 32, 47))
UP = tuple((start, end, pitch + 3) for start, end, pitch in TUNE)


def digest(tune, duplicates="drop", name="a"):
    return pack(name, [tune], SPEC, duplicates).digest


def test_equal_music_has_one_digest_whatever_its_name_tempo_and_place():
    late = melody(*TUNE, bar_numbers=(7, 8))
    late.tempo_bpm[:] = 77
    for duplicates in ("drop", "exact"):
        assert digest(melody(*TUNE), duplicates) == digest(late, duplicates, "b")


def test_transposed_music_has_one_digest_where_asked_and_drums_stay():
    assert digest(melody(*TUNE)) == digest(melody(*UP))
    assert digest(melody(*TUNE), "exact") != digest(melody(*UP), "exact")
    assert pack("a", [melody(*TUNE)], SPEC).lowest + 3 == pack("b", [melody(*UP)], SPEC).lowest
    other_drums = melody(*UP)
    for plane in (other_drums.frame, other_drums.onset):
        plane[:, 0] = np.packbits(np.roll(unpacked(plane[:, 0], SPEC), 3, axis=-1), axis=-1)
    assert digest(melody(*TUNE)) != digest(other_drums)


def test_pieces_that_are_kept_have_a_digest_of_their_name():
    assert digest(melody(*TUNE), "keep") == digest(melody(*UP), "keep")
    assert digest(melody(*TUNE), "keep") != digest(melody(*TUNE), "keep", "b")


UNEQUAL = {
    "another onset": melody((0, 4, 40), (4, 8, 44), (8, 20, 47), (20, 32, 47)),
    "another start": melody((1, 4, 40), (4, 8, 44), (8, 32, 47)),
    "another end": melody((0, 4, 40), (4, 8, 44), (8, 31, 47)),
    "another pitch": melody((0, 4, 40), (4, 8, 45), (8, 32, 47)),
    "another track": melody(*TUNE, track=2),
    "a break between the bars": melody(*TUNE, bar_numbers=(0, 2)),
    "one note fewer": melody(*TUNE[:2]),
}


@pytest.mark.parametrize("name", UNEQUAL)
@pytest.mark.parametrize("duplicates", ["drop", "exact"])
def test_unequal_music_has_another_digest(name, duplicates):
    assert digest(UNEQUAL[name], duplicates) != digest(melody(*TUNE), duplicates)


def test_a_piece_of_drums_alone():
    drums = melody()
    assert pack("a", [drums], SPEC).lowest == -1
    assert digest(drums, "drop") == digest(drums, "exact")
    assert digest(drums) != digest(melody(*TUNE))


def test_of_equal_pieces_the_first_is_used(tmp_path):
    """In the second shard lie b, which is the same as a, and c."""
    a, b = piece("a", [0, 1, 2, 3], 1), piece("b", [0, 1, 2, 3], 1)
    c, d = piece("c", [0, 1], 2), piece("d", [0, 1, 2], 3)
    write_shard(tmp_path / "shard-00000.safetensors", SPEC, [d, a])
    write_shard(tmp_path / "shard-00001.safetensors", SPEC, [b, c])
    dataset = PackedDataset.open(tmp_path)
    assert (dataset.pieces, dataset.n_duplicates, dataset.n_bars) == (["d", "a", "c"], 1, 9)
    starts = dataset.phrase_starts(2)
    assert starts.tolist() == [0, 1, 3, 4, 5, 11]
    assert dataset.piece_of(starts).tolist() == [0, 0, 1, 1, 1, 2]
    assert dataset.piece_of(torch.tensor([7])).tolist() == [-1]
    roll = dataset.roll(starts[-1:], 2)
    assert np.array_equal(roll.frame[0].transpose(0, 1).numpy(), unpacked(c.frame, SPEC))


def in_parts(folder, n_parts, pieces):
    for number, piece_or_none in enumerate(pieces, 1):
        part = folder / f"part-{number:03d}-of-{n_parts:03d}"
        part.mkdir()
        if piece_or_none is not None:
            write_shard(part / "shard-00000.safetensors", SPEC, [piece_or_none])


def test_parts_are_one_data_set(tmp_path):
    """The third part gave no bars, and what is in the fourth is in the first already."""
    in_parts(tmp_path, 4, [piece("a", [0, 1], 1), piece("b", [0], 2), None, piece("c", [0, 1], 1)])
    (tmp_path / "part-005-of-005.partial").mkdir()
    dataset = PackedDataset.open(tmp_path)
    assert (dataset.pieces, dataset.n_duplicates, dataset.n_bars) == (["a", "b"], 1, 3)
    assert PackedDataset.open(tmp_path / "part-004-of-004").pieces == ["c"]


def test_the_number_of_a_part_orders_it(tmp_path):
    (tmp_path / "part-1-of-11").mkdir()
    for number in range(1, 12):
        part = tmp_path / f"part-{number}-of-11"
        part.mkdir(exist_ok=True)
        write_shard(part / "shard-00000.safetensors", SPEC, [piece(str(number), [0], number)])
    assert PackedDataset.open(tmp_path).pieces == [str(number) for number in range(1, 12)]


def test_parts_that_are_missing_or_mixed_are_refused(tmp_path):
    in_parts(tmp_path, 20, [piece(str(n), [0], n) for n in range(4)])
    with pytest.raises(DatasetError, match=r"lacks 16 of its parts: 5, 6, 7, 8, 9, 10, 11, 12, \.\.\."):
        PackedDataset.open(tmp_path)
    (tmp_path / "part-002-of-005").mkdir()
    with pytest.raises(DatasetError, match="mixes parts of 5 and of 20"):
        PackedDataset.open(tmp_path)


def test_a_whole_data_set_and_parts_in_one_folder_are_refused(folder):
    in_parts(folder, 1, [piece("d", [0], 9)])
    with pytest.raises(DatasetError, match="holds shards beside its parts"):
        PackedDataset.open(folder)


def mapped_bytes(path):
    """How much of a file this process has in memory through maps of it."""
    total, of_path = 0, False
    for line in open("/proc/self/smaps"):
        if "-" in line.split(" ")[0]:
            of_path = line.rstrip().endswith(str(path))
        elif of_path and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_opening_does_not_read_the_music(tmp_path):
    same, path = bars(range(64)), tmp_path / "shard-00000.safetensors"
    write_shard(path, SPEC, [pack(str(i), [same], SPEC, "keep") for i in range(300)])
    dataset = PackedDataset.open(tmp_path)
    assert mapped_bytes(path) < path.stat().st_size / 4    # pages come by 2 MiB
    dataset.roll(torch.arange(dataset.n_bars), 1)
    assert mapped_bytes(path) > path.stat().st_size / 2


def test_split_is_a_partition_of_about_the_share_and_stays_as_pieces_come():
    names = [f"song {i}" for i in range(2000)]
    train, validation, _ = split_pieces(names, 0.15)
    assert sorted(train + validation) == list(range(2000)) and 250 < len(validation) < 350
    more = ["another", *names, "and another"]
    assert {more[i] for i in split_pieces(more, 0.15)[1]} - {names[i] for i in validation} <= {"another", "and another"}


def test_neither_side_of_a_split_is_empty():
    for n in range(2, 6):
        for share in (0.001, 0.999):
            train, validation, test = split_pieces([str(i) for i in range(n)], share)
            assert train and validation
    assert split_pieces(["one"], 0.001) == ([0], [], []) and split_pieces(["a", "b"], 0) == ([0, 1], [], [])


def test_test_pieces_are_apart_and_those_that_a_validation_share_would_be():
    names = [f"song {i}" for i in range(2000)]
    parts = split_pieces(names, 0.2, test_share=0.15)
    assert sorted(sum(parts, [])) == list(range(2000))
    assert parts[2] == split_pieces(names, 0.15)[1] and 350 < len(parts[1]) < 450
    for n in range(3, 6):
        for shares in ((0.001, 0.001), (0.001, 0.99), (0.99, 0.001)):
            assert all(split_pieces([str(i) for i in range(n)], *shares))


def test_a_share_out_of_range():
    with pytest.raises(ValueError, match="0 to 1: got validation_share=15"):
        split_pieces(["a"], 15)
