"""Pictures: what sounds is seen, in its colour and at its place."""

import dataclasses

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from PIL import Image

from musegan.errors import UserError
from musegan.export import write_png
from musegan.export.png import PALETTE, _lighter, figure
from musegan.roll import RollSpec, Track


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def shows(picture: np.ndarray, color: str) -> bool:
    wanted = np.round(np.array(matplotlib.colors.to_rgb(color)) * 255)
    return bool((np.abs(picture - wanted).max(-1) <= 1).any())


def boxes(panel, color: str) -> list:
    """Extents of the boxes of one colour."""
    wanted = matplotlib.colors.to_rgba(color)
    polygons = [drawn for drawn in panel.collections if isinstance(drawn, PolyCollection)]
    drawn = [polygon for polygon in polygons if tuple(polygon.get_facecolor()[0]) == wanted]
    return [path.get_extents() for polygon in drawn for path in polygon.get_paths()]


def texts(panel) -> dict[str, float]:
    return {text.get_text(): text.get_position()[1] for text in panel.texts}


def test_only_sounding_tracks_show_their_colour(band, tmp_path):
    spec, _, roll = band
    write_png(tmp_path / "song.png", roll, spec)
    picture = pixels(tmp_path / "song.png")
    assert [shows(picture, color) for color in PALETTE[:5]] == [True, True, True, True, False]


def test_a_dark_box_for_each_onset_and_a_light_one_for_each_note(band):
    spec, notes, roll = band
    (panel,) = figure(roll, spec).axes
    for index in range(5):
        spans = sorted((start, end) for track, _, start, end in notes if track == index)
        dark, light = boxes(panel, PALETTE[index]), boxes(panel, _lighter(PALETTE[index]))
        assert sorted((round(box.x0), round(box.x1)) for box in dark) == [(start, start + 1) for start, _ in spans]
        assert sorted((round(box.x0), round(box.x1)) for box in light) == spans


def test_a_long_piece_goes_over_several_lines(phrase):
    """A note in bar 17 is in the first bar of the second line."""
    spec = RollSpec((Track("piano"),))
    steps = spec.steps_per_bar
    long, short = phrase(spec, [(0, 60, 16 * steps + 2, 16 * steps + 4)], 20), phrase(spec, [(0, 67, 0, 2)], 3)
    panels = figure([long, short], spec, ["long", "short"]).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["long", "", "short"]
    assert [[round(box.x0) for box in boxes(panel, PALETTE[0])] for panel in panels] == [[], [2], [0]]
    assert " 17" in texts(panels[1]) and " 17" not in texts(panels[0])
    assert len(figure(phrase(spec, [(0, 60, 0, 2)], 1000), spec).axes) == 32


def test_a_higher_note_is_higher(phrase):
    spec = RollSpec((Track("piano"),))
    (panel,) = figure(phrase(spec, [(0, 60, 0, 2), (0, 67, 8, 10)], 1), spec).axes
    first, second = boxes(panel, PALETTE[0])
    assert second.y0 > first.y1


def test_names_of_tracks_bars_drums_and_octaves(band):
    spec, _, roll = band
    (panel,) = figure(roll, spec, titles=["a $song$"]).axes
    heights = texts(panel)
    lanes = [heights[track.name] for track in spec.tracks]
    assert lanes == sorted(lanes, reverse=True)
    assert {" 1", " 2", "kick", "snare", "hat", "C4", "C5", "C2"} <= set(heights)
    assert panel.get_title(loc="left") == "a $song$"


def test_a_page_has_a_panel_for_each_phrase(band, silence, tmp_path):
    spec, _, roll = band
    page = figure([roll, silence[2], roll], spec, titles=["one", "two", "three"])
    assert [panel.get_title(loc="left") for panel in page.axes] == ["one", "two", "three", ""]
    write_png(tmp_path / "tall.png", [roll] * 3, spec, n_columns=1)
    height, width, _ = pixels(tmp_path / "tall.png").shape
    assert height > width / 2


@pytest.mark.parametrize("case", ["waltz", "silence"])
def test_other_shapes_make_a_picture(case, request, tmp_path):
    spec, notes, roll = request.getfixturevalue(case)
    write_png(tmp_path / "song.png", roll, spec)
    picture = pixels(tmp_path / "song.png")
    assert picture.std() > 1
    assert [shows(picture, color) for color in PALETTE[: spec.n_tracks]] == [bool(notes)] * spec.n_tracks


def test_more_tracks_than_colours(phrase, tmp_path):
    spec = RollSpec(tuple(Track(f"voice {index}") for index in range(12)), n_pitches=40)
    write_png(tmp_path / "song.png", phrase(spec, [(index, 60, 0, 4) for index in range(12)], 1), spec)
    assert shows(pixels(tmp_path / "song.png"), PALETTE[1])


def test_the_same_roll_gives_the_same_bytes(band, tmp_path):
    spec, _, roll = band
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, roll, spec)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_are_not_formulas(band, tmp_path):
    spec, _, roll = band
    tracks = tuple(dataclasses.replace(track, name=rf"$\{track.name}$") for track in spec.tracks)
    write_png(tmp_path / "song.png", roll, dataclasses.replace(spec, tracks=tracks), titles=[r"$\nonsense$"])


def lines(panel) -> list[tuple[float, ...]]:
    """Steps of the upright lines: of the beats, then of the bars."""
    drawn = [lines for lines in panel.collections if isinstance(lines, LineCollection)]
    sets = [[segment[:, 0] for segment in lines.get_segments()] for lines in drawn]
    return [tuple(x[0] for x in upright) for upright in sets if all(x[0] == x[1] for x in upright)]


@pytest.mark.parametrize(("case", "beats", "bars"), [
    ("jig", range(0, 24, 2), (0, 12, 24)), ("seven", range(0, 28, 2), (0, 14, 28)), ("march", (0, 8, 16, 24), (0, 16, 32)),
])
def test_lines_at_beats_and_bars(case, beats, bars, request):
    spec, _, roll = request.getfixturevalue(case)
    (panel,) = figure(roll, spec).axes
    assert lines(panel) == [tuple(beats), bars]


def test_notes_look_the_same_whatever_the_beat(phrase):
    three = RollSpec((Track("piano"),), steps_per_beat=12, beats_per_bar=3)
    six = dataclasses.replace(three, steps_per_beat=6, beats_per_bar=6, beat_unit=8)
    roll = phrase(three, [(0, 60, 0, 12), (0, 64, 12, 36)], 1)
    in_three, in_six = (
        [box.extents.tolist() for color in (PALETTE[0], _lighter(PALETTE[0]))
         for box in boxes(figure(roll, spec).axes[0], color)]
        for spec in (three, six)
    )
    assert in_three == in_six and len(in_six) == 4


@pytest.mark.parametrize("steps_per_beat", [1, 24, 96])
def test_boxes_have_a_width_at_every_resolution(phrase, steps_per_beat):
    spec = RollSpec((Track("piano"),), steps_per_beat=steps_per_beat)
    (panel,) = figure(phrase(spec, [(0, 60, 0, 1), (0, 64, 1, 4)], 1), spec).axes
    assert all(0 <= box.x0 < box.x1 <= 4 for color in (PALETTE[0], _lighter(PALETTE[0])) for box in boxes(panel, color))


def test_bad_arguments(band, tmp_path):
    spec, _, roll = band
    with pytest.raises(ValueError, match="rolls must not be empty"):
        figure([], spec)
    with pytest.raises(ValueError, match="titles must be one for each roll: got 2 for 1"):
        figure(roll, spec, titles=["a", "b"])
    with pytest.raises(UserError, match="cannot write"):
        write_png(tmp_path / "no" / "song.png", roll, spec)


def test_bars_are_numbered_as_they_are_called(phrase):
    spec = RollSpec((Track("piano"),))
    roll = phrase(spec, [(0, 60, 0, 2)], 2)
    assert {"1", "2"} <= {text.strip() for text in texts(figure(roll, spec).axes[0])}
    (panel,) = figure(roll, spec, bar_numbers=[[17, 20]]).axes
    assert {text.strip() for text in texts(panel)} & {"1", "2", "17", "20"} == {"17", "20"}
    with pytest.raises(ValueError, match=r"bar_numbers must be one for each bar: got \[1\] for \[2\]"):
        figure(roll, spec, bar_numbers=[[17]])
