"""Systems: their names, folders of finished videos, and programs that are started without a shell."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from animate.errors import OptionError
from animate.media import read_image
from bench.runner.inputs import write_inputs
from bench.runner.scene import LeftOut
from bench.runner.stage import Stage
from bench.systems.system import Failed, open_system, parse_system, parse_systems


@pytest.fixture(scope="module")
def scene(self_suite, redetector, tmp_path_factory):
    stage = Stage(self_suite, redetector, tmp_path_factory.mktemp("tracks"))
    return stage.scene(self_suite.cases[0])


class TestNames:
    @pytest.mark.parametrize(
        ("word", "name", "folder", "role"),
        [
            ("mien:mini", "mien:mini", "mien-mini", "system"),
            ("folder:/a/theirs", "folder:theirs", "folder-theirs", "system"),
            ("mine=folder:/a/theirs", "mine", "mine", "system"),
            ("系统=folder:/a/theirs", "系统", "system-5b50d7", "system"),
            ("still", "still", "still", "baseline"),
            ("truth", "truth", "truth", "truth"),
        ],
    )
    def test_a_word_has_a_name_a_folder_and_a_role(self, word, name, folder, role):
        spec = parse_system(word)
        assert (spec.name, spec.folder, spec.role) == (name, folder, role)

    def test_a_command_keeps_its_words(self):
        spec = parse_system('x=command:"prog --a=b {output}"')
        assert spec.name == "x" and spec.word == "command:prog --a=b {output}"
        assert parse_system("command:prog {output}").name.startswith("command:prog-")

    @pytest.mark.parametrize(
        ("line", "kept"),
        [
            ('"my tools/tool.sh" {driver} "{output}"', '"my tools/tool.sh" {driver} "{output}"'),
            ("'my tools/tool.sh' '{output}'", "'my tools/tool.sh' '{output}'"),
            ('"bash -c \\"a b\\" {output}"', 'bash -c "a b" {output}'),
        ],
    )
    def test_only_quotes_round_the_whole_command_are_taken_off(self, line, kept):
        assert parse_system(f"x=command:{line}").word == f"command:{kept}"

    @pytest.mark.parametrize(
        "name",
        ["suite.yaml", "run-suite.yaml", "report.json", "Report.HTML", "report.md", "report.csv", "tracks", "logs"]
        + ["inputs.json"],
    )
    def test_names_of_what_else_is_in_a_folder_of_runs_are_refused(self, name):
        with pytest.raises(OptionError, match=f"cannot be called {name}"):
            parse_system(f"{name}=folder:/a/theirs")

    def test_names_in_other_scripts_have_folders_of_their_own(self):
        folders = {parse_system(f"{name}=folder:/a").folder for name in ("系统", "日本", "Größe", "Gräße", "Gre")}
        assert len(folders) == 5 and all(folder.isascii() for folder in folders)

    @pytest.mark.parametrize("word", ["mini", "mien:", "folder:", "", "=x", "ftp:x"])
    def test_other_words_are_refused(self, word):
        with pytest.raises(OptionError, match="There is no system"):
            parse_system(word)

    def test_baselines_come_with_every_run_and_nothing_comes_twice(self):
        names = [spec.name for spec in parse_systems(["mien:mini", "still", "mien:mini"])]
        assert names == ["still", "warp", "copy", "mien:mini", "truth"]
        assert [spec.name for spec in parse_systems(["mien:mini"], baselines=False)] == ["mien:mini"]

    def test_two_folders_of_one_name_are_numbered(self):
        specs = parse_systems(["folder:/a/out", "folder:/b/out"], baselines=False)
        assert [spec.folder for spec in specs] == ["folder-out", "folder-out-2"]


class TestFolder:
    def test_a_file_is_found_by_the_cases_id(self, scene, tmp_path):
        (tmp_path / f"{scene.case.id}.webm").write_bytes(b"x")
        assert open_system(f"folder:{tmp_path}").file(scene, tmp_path).suffix == ".webm"

    @pytest.mark.parametrize("name", ["self--nod.MP4", "Self--Nod.mp4"])
    def test_upper_and_lower_case_are_one(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"x")
        assert open_system(f"folder:{tmp_path}").find("self--nod") == tmp_path / name

    def test_the_name_as_it_is_written_comes_before_one_in_another_case(self, tmp_path):
        for name in ("a.MP4", "a.gif"):
            (tmp_path / name).write_bytes(b"x")
        folder = open_system(f"folder:{tmp_path}")
        assert (folder.find("a").name, folder.find("A").name) == ("a.gif", "a.MP4")

    def test_a_missing_file_is_a_failure(self, scene, tmp_path):
        with pytest.raises(Failed, match=f"{scene.case.id}.mp4"):
            open_system(f"folder:{tmp_path}").file(scene, tmp_path)

    def test_the_digest_follows_the_file(self, tmp_path):
        system = open_system(f"folder:{tmp_path}")
        seen = [system.digest("a")]
        for text in (b"1", b"22"):
            (tmp_path / "a.mp4").write_bytes(text)
            seen.append(system.digest("a"))
        assert len(set(seen)) == 3

    def test_no_folder_is_told(self, tmp_path):
        with pytest.raises(OptionError, match="no folder"):
            open_system(f"folder:{tmp_path}/nowhere")


class TestCommand:
    def test_gets_the_cases_files(self, scene, tmp_path, program):
        code = "import shutil, os; assert os.path.getsize(ARGV[0]) > 0; shutil.copy(ARGV[1], ARGV[2])"
        output = open_system(program(code)).file(scene, tmp_path)
        assert output.read_bytes() == (tmp_path / "inputs" / "driver.mp4").read_bytes()

    def test_no_shell_sees_its_words(self, scene, tmp_path, program):
        marker = tmp_path / "marker"
        line = program("open(ARGV[0], 'w').write(ARGV[1])", "{output} '$(touch " + str(marker) + "); ${other} {case}'")
        output = open_system(line).file(scene, tmp_path)
        assert output.read_text() == f"$(touch {marker}); ${{other}} {scene.case.id}" and not marker.exists()

    def test_a_crash_is_told_with_its_last_words(self, scene, tmp_path, program):
        with pytest.raises(Failed, match="status 1: RuntimeError: out of cheese"):
            open_system(program("raise RuntimeError('out of cheese')")).file(scene, tmp_path)

    def test_a_kill_is_told(self, scene, tmp_path, program):
        with pytest.raises(Failed, match="SIGKILL"):
            open_system(program("import os; os.kill(os.getpid(), 9)")).file(scene, tmp_path)

    def test_no_output_is_a_failure(self, scene, tmp_path, program):
        with pytest.raises(Failed, match="wrote no output"):
            open_system(program("pass")).file(scene, tmp_path)

    def test_a_slow_one_is_stopped_with_what_it_started(self, scene, tmp_path, program):
        late = tmp_path / "late"
        child = f"import time; time.sleep(3); open({str(late)!r}, 'w')"
        code = f"import subprocess, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
        began = time.monotonic()
        with pytest.raises(Failed, match="more than 1.5 s"):
            open_system(program(code)).file(scene, tmp_path, timeout=1.5)
        assert time.monotonic() - began < 20
        time.sleep(2.5)
        assert not late.exists()

    def test_a_program_that_is_not_there_is_told(self, scene, tmp_path):
        with pytest.raises(Failed, match="cannot be started"):
            open_system("command:no-such-program-here {output}").file(scene, tmp_path)

    def test_what_a_case_has_not_leaves_it_out(self, scene, tmp_path, program):
        with pytest.raises(LeftOut, match="{audio}"):
            open_system(program("pass", "{audio} {output}")).file(scene, tmp_path)

    @pytest.mark.parametrize("line", ["", "prog", "prog 'open {output}"])
    def test_a_line_that_cannot_work_is_refused(self, line):
        with pytest.raises(OptionError):
            open_system(f"command:{line}")

    @pytest.mark.parametrize("braces", ["", "${HOME}", "${home}", "{print $1}", "{1}", "{}", "{ true; }"])
    def test_a_misspelt_placeholder_is_told_and_a_shells_braces_are_not_taken_for_one(self, braces):
        with pytest.raises(
            OptionError, match="asks for {portriat}, .* there are {portrait}, {driver}, {audio}, {output}"
        ):
            open_system(f"command:bash -c 'x {braces} --source={{portriat}}' {{output}}")

    @pytest.mark.parametrize("word", ["x" * 300, "x/" * 3000])
    def test_a_word_that_cannot_be_a_files_name_is_a_word(self, word):
        assert len(open_system(f"command:bash -c '{word}' {{output}}").digest("a")) == 64

    def test_the_digest_follows_its_script(self, tmp_path):
        script = tmp_path / "a.py"
        script.write_text("1")
        line = f"command:{sys.executable} {script} {{output}}"
        before = open_system(line).digest("a")
        script.write_text("22")
        assert open_system(line).digest("a") != before


class TestBuiltIn:
    def test_still_is_the_portrait(self, scene):
        frames = list(open_system("mien:still").frames(scene))
        assert len(frames) == scene.count and all(np.array_equal(f, scene.portrait.image) for f in frames)

    def test_truth_and_copy_are_the_clip_where_it_drives_itself(self, scene):
        truth, copy = (list(open_system(word).frames(scene)) for word in ("truth", "copy"))
        assert len(truth) == scene.count
        assert all(np.array_equal(a, b) for a, b in zip(truth, copy, strict=True))

    def test_warp_follows_better_than_still(self, scene, redetector):
        def error(word):
            *_, frame = open_system(word).frames(scene)
            found = redetector(np.asarray(frame), scene.views[0].near[-1])
            return np.abs(found - scene.views[0].truth.found(scene.count - 1))[:, :2].mean()

        assert error("warp") < 0.6 * error("still")

    def test_mini_tells_its_weights(self):
        weights = open_system("mien:mini").weights()
        assert any(file["name"].endswith(".safetensors") and len(file["sha256"]) == 64 for file in weights)


def test_inputs_are_written_for_systems_that_run_elsewhere(scene, tmp_path):
    values = write_inputs(scene, tmp_path)
    assert np.array_equal(read_image(values["portrait"]), scene.portrait.image)
    assert Path(values["driver"]).is_file() and values["frames"] == str(scene.count) and "audio" not in values
