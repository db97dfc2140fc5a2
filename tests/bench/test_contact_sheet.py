"""Contact sheets."""

from fractions import Fraction

import numpy as np
import pytest

from animate.media import VideoWriter, read_image
from bench import contact_sheet
from bench.contact_sheet import CELL, SheetCollector, colour_heat, over_grey


def collect(frames, mesh, names=("truth", "warp"), columns=4):
    sheet = SheetCollector(len(frames), columns)
    for name in names:
        for t, frame in enumerate(frames):
            sheet.add(name, t, frame if name == "truth" else np.roll(frame, 4, axis=1), frame, mesh)
    return sheet


def test_columns_are_spread_evenly_and_leave_out_the_portrait():
    assert SheetCollector(101, 5).moments == [1, 26, 50, 75, 100]
    assert SheetCollector(3, 8).moments == [0, 1, 2]


def test_cells_of_every_kind_and_no_error_row_for_the_truth(face):
    picture, mesh = face
    sheet = collect([picture] * 9, mesh)
    assert {len(cells) for cells in sheet.cells.values()} == {4}
    image = sheet.sheet()
    whole = 2 * (CELL + 2) + (CELL + 2) + 2 * (CELL + 2)  # frames, error of one, motion of both
    assert image.dtype == np.uint8 and image.shape[0] > whole


def test_heat_shows_motion_and_error_only_where_there_is_some(face):
    picture, mesh = face
    sheet = collect([picture] * 9, mesh)
    assert max(cell.sum() for cell in sheet.cells["truth", "motion"]) == colour_heat(np.zeros((160, 160))).sum()
    assert min(cell.mean() for cell in sheet.cells["warp", "error"]) > 5
    moving = collect([np.roll(picture, 3 * t, axis=1) for t in range(9)], mesh, names=("truth",))
    assert min(cell.mean() for cell in moving.cells["truth", "motion"]) > 5


def test_mouth_cells_show_the_mouth_enlarged(face):
    picture, mesh = face
    marked = picture.copy()
    x, y = mesh[13, :2].round().astype(int)
    marked[y - 2 : y + 3, x - 2 : x + 3] = (0, 255, 0)
    cell = collect([marked] * 2, mesh, names=("truth",), columns=2).cells["truth", "mouth"][0]
    green = (cell.astype(int) @ [-1, 1, -1]) > 100
    rows, columns = np.nonzero(green)
    assert abs(columns.mean() / CELL - 0.5) < 0.12 and green.sum() > 60


def test_transparency_is_shown_over_grey():
    clear = np.zeros((8, 8, 4), np.uint8)
    assert (over_grey(clear) == 128).all()


def test_a_method_that_failed_halfway_leaves_no_row(face):
    picture, mesh = face
    sheet = collect([picture] * 4, mesh)
    height = sheet.sheet().shape[0]
    sheet.drop("warp")
    assert sheet.sheet().shape[0] < height


@pytest.fixture
def films(tmp_path, face):
    paths = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for shift, path in enumerate(paths):
        with VideoWriter(path, Fraction(25)) as writer:
            for t in range(5):
                writer.write(np.roll(face[0], t * shift, axis=1))
    return paths


def test_command_lays_out_finished_videos(films, tmp_path):
    target = tmp_path / "sheet.png"
    assert contact_sheet.main([*map(str, films), "-o", str(target), "--columns", "3"]) == 0
    assert read_image(target).shape[1] == contact_sheet.LABEL + 3 * (CELL + 2)


def test_command_says_what_is_missing(tmp_path, capsys):
    assert contact_sheet.main([str(tmp_path / "no.mp4"), "-o", str(tmp_path / "s.png")]) == 1
    assert "no.mp4" in capsys.readouterr().err
    assert not (tmp_path / "s.png").exists()
