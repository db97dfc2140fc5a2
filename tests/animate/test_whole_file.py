"""A file appears under its name only when all of it is written."""

import os
import threading

import pytest

from animate.whole_file import whole_file


def test_it_appears_at_the_end_with_what_was_written(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as part:
        part.write_text("whole")
        assert not path.exists() and part.parent == tmp_path and part.name.startswith(".")
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["a.txt"]


def test_what_stood_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_nothing_written_is_an_error_and_keeps_the_old(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert path.read_text() == "old"


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("ж" * 127)
    with whole_file(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"


def test_two_names_that_begin_alike(tmp_path):
    first, second = tmp_path / f"{'n' * 80}1", tmp_path / f"{'n' * 80}2"
    with whole_file(first) as one, whole_file(second) as two:
        one.write_text("1")
        two.write_text("2")
    assert (first.read_text(), second.read_text()) == ("1", "2")


def test_writers_of_the_same_name_do_not_mix(tmp_path):
    path, start = tmp_path / "a.txt", threading.Barrier(4)

    def write(letter):
        start.wait()
        for _ in range(50):
            with whole_file(path) as part:
                part.write_text(letter * 5000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in {letter * 5000 for letter in "abcd"} and os.listdir(tmp_path) == ["a.txt"]
