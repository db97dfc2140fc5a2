"""What `make demo` leaves: the astronaut's portrait and a picture of the video."""

import numpy as np

from ui.demo import contact_sheet, head_window, main


def test_portrait_is_the_astronaut(tmp_path, astronaut):
    from animate.media import read_image

    assert main(["portrait", str(tmp_path / "a.png")]) == 0
    assert np.array_equal(read_image(tmp_path / "a.png"), astronaut)


def test_sheet_shows_twelve_moments_of_the_face(files, tmp_path):
    from animate.media import read_image

    assert main(["sheet", str(files / "clip.mp4"), str(tmp_path / "sheet.png")]) == 0
    assert read_image(tmp_path / "sheet.png").shape == (512, 6 * 256, 3)


def test_contact_sheet_goes_evenly_from_first_to_last():
    frames = (np.full((10, 20, 3), number, np.uint8) for number in range(23))
    sheet = contact_sheet(frames, 23, columns=12, tile=20)
    assert sheet[0, 10::20, 0].tolist() == list(range(0, 23, 2))


def test_head_window_stays_inside_the_picture():
    rows, columns = head_window(np.array([0, 0, 40, 50]), height=200, width=90)
    assert (rows, columns) == (slice(0, 90), slice(0, 90))


def test_mistakes_are_told(capsys, tmp_path):
    assert main([]) == 2
    assert main(["sheet", str(tmp_path / "nowhere.mp4"), str(tmp_path / "a.png")]) == 2
    assert "nowhere.mp4" in capsys.readouterr().err
