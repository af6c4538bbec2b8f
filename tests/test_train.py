"""`musegan train` as a process: killed, interrupted, resumed, misused."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from musegan import cli
from musegan.training.run_folder import RunFolder
from tests.training.test_gan import same_state

SMALL = ("--data.n_bars=2 --data.validation_share=0.3 --model.latent_size=8 --model.generator_width=16 "
         "--model.discriminator_width=16 --model.n_blocks=1 --train.batch_size=8 --train.validation_samples=16").split()


def command(*arguments):
    return [sys.executable, "-m", "musegan.train", *map(str, arguments)]


def train(*arguments):
    return cli.main(["train", *map(str, arguments)])


def wait_for(path, process):
    """Until the file is there; the process must not have ended on its own."""
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_killed_and_resumed_equals_never_killed(songs_folder, tmp_path):
    options = [*SMALL, f"--data.dataset={songs_folder}", "--train.steps=40", "--train.checkpoint_every=5",
               "--train.validate_every=20"]
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    assert train(*options, "--out", whole.path) == 0
    process = subprocess.Popen(command(*options, "--out", killed.path), stderr=subprocess.PIPE, text=True)
    wait_for(killed.checkpoint, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert killed.load_checkpoint()["step"] < 40
    assert train("--out", killed.path, "--resume") == 0
    assert same_state(whole.load_checkpoint(), killed.load_checkpoint())
    for file in ("best/model.safetensors", "newest/model.safetensors", "samples/step-000040.mid"):
        assert (whole.path / file).read_bytes() == (killed.path / file).read_bytes()
    steps = [json.loads(line)["step"] for line in killed.metrics.open()]
    assert steps == [1, *range(10, 41, 10)]


def test_ctrl_c_saves_and_ends_with_130(songs_folder, tmp_path):
    run = RunFolder(tmp_path / "run")
    options = [*SMALL, f"--data.dataset={songs_folder}", "--train.steps=100000", "--train.checkpoint_every=5",
               "--train.validate_every=100000"]
    process = subprocess.Popen(command(*options, "--out", run.path), stderr=subprocess.PIPE, text=True)
    wait_for(run.checkpoint, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said and "Traceback" not in said
    assert run.load_checkpoint()["step"] >= 5


def test_ctrl_c_reaches_loader_processes_too_and_still_saves(songs_folder, tmp_path):
    """A terminal sends it to all of them. Nothing is left behind, and what was saved goes on without them."""
    run = RunFolder(tmp_path / "run")
    options = [*SMALL, f"--data.dataset={songs_folder}", "--train.steps=100000", "--train.checkpoint_every=5",
               "--train.validate_every=100000"]
    process = subprocess.Popen(command(*options, "--train.workers=2", "--out", run.path), stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    wait_for(run.checkpoint, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said and "Traceback" not in said and "Interrupt" not in said
    with pytest.raises(ProcessLookupError):    # no process of the group is left
        os.killpg(process.pid, 0)
    step = run.load_checkpoint()["step"]
    assert step >= 5
    assert train("--out", run.path, "--resume", "--train.workers=0", f"--train.steps={step + 1}") == 0


def test_dry_run_prints_and_writes_nothing(tmp_path, capsys):
    assert train("--config", "band", "--train.steps=7", "--out", tmp_path / "run", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "steps: 7" in out and "mono_tracks" in out and '"torch"' in out
    assert not (tmp_path / "run").exists()


def test_help_explains_every_key(capsys):
    with pytest.raises(SystemExit) as end:
        train("--help")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--train.penalty_every" in text and "Decides everything random." in text


@pytest.mark.parametrize("arguments, message", [
    (["--train.stepz=5"], "did you mean train.steps?"),
    (["--config", "bend"], "did you mean 'band'?"),
    (["--train.steps=many"], "train.steps"),
    (["--train.steps=0"], "train.steps must be at least 1: got 0"),
    (["--data.validation_share=1.5"], "data.validation_share must lie between 0 and 1: got 1.5"),
    (["--data.dataset=nowhere"], "no folder 'nowhere'"),
    (["--train.workers=-1"], "train.workers must be at least 0: got -1"),
    (["--data.track_dropout=1.5"], "data.track_dropout must lie in [0, 1]: got 1.5"),
    (["--data.transpose_semitones=-2"], "data.transpose_semitones must be at least 0: got -2"),
    (["--train.slope_growth=.nan"], "train.slope_growth must be at least 1: got nan"),
    (["--train.penalty_weight=.inf"], "train.penalty_weight must be at least 0: got inf"),
    (["--train.learning_rate=.inf"], "train.learning_rate must be above 0, and finite: got inf"),
    (["--train.transpose_range=1000000"], "train.transpose_range must be at most 127"),
    (["--data.transpose_semitones=1000000"], "data.transpose_semitones must be at most 127"),
    (["--model.kind=musegan-v3", "--model.generator_width=33", "--model.n_blocks=2"],
     "model.generator_width must be a multiple of 32"),
    (["--train.device=abacus"], "train.device must be auto, cpu or cuda: got 'abacus'"),
    (["--model.mono_tracks=[organ]"], "mono_tracks: no pitched track named ['organ']"),
    (["--resume"], "holds no run"),
])
def test_mistakes_are_one_line(arguments, message, songs_folder, tmp_path, capsys):
    dataset = [] if "dataset" in arguments[0] else [f"--data.dataset={songs_folder}"]
    assert train(*dataset, *SMALL, *arguments, "--out", tmp_path / "run") in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("musegan: error: ") and message in error


@pytest.mark.parametrize("environment, message", [
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE in the environment, which a launcher sets, must be a whole number: got 'two'"),
    ({"WORLD_SIZE": "2", "RANK": "first"},
     "RANK in the environment, which a launcher sets, must be a whole number: got 'first'"),
    ({"PMI_SIZE": "2", "MASTER_PORT": ""},
     "MASTER_PORT in the environment, which a launcher sets, must be a whole number: got ''"),
    ({"WORLD_SIZE": "2"}, "cannot join the 2 processes of a launcher: no `MASTER_ADDR`"),
])
def test_what_no_launcher_says_is_wrong_usage(environment, message, monkeypatch, capsys):
    def missing(cpu):    # as Accelerate has it, which leaves traces of itself in the process
        raise ValueError("no `MASTER_ADDR`")

    monkeypatch.setattr("accelerate.PartialState", missing)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert train("--dry-run") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"musegan: error: {message}")


def test_where_nothing_was_launched_a_rank_of_someone_else_does_not_matter(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "first")
    assert train("--dry-run") == 0


def test_unknown_key_in_a_file_names_the_nearest(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("train:\n  lerning_rate: 0.1\n")
    assert train("--config", tmp_path / "mine.yaml", "--out", tmp_path / "run") in (1, 2)
    assert "did you mean train.learning_rate?" in capsys.readouterr().err


def test_a_run_is_never_overwritten_and_resumes_only_as_it_was(songs_folder, tmp_path, capsys):
    options = [*SMALL, f"--data.dataset={songs_folder}", "--train.steps=2", "--out", tmp_path / "run"]
    assert train(*options) == 0
    assert train(*options) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert train("--out", tmp_path / "run", "--resume", "--train.seed=9") == 1
    assert "train.seed is 0" in capsys.readouterr().err
    assert train("--out", tmp_path / "run", "--resume", "--train.steps=3") == 0
    assert RunFolder(tmp_path / "run").load_checkpoint()["step"] == 3


def test_a_mistake_does_not_lock_the_folder(songs_folder, tmp_path, capsys):
    options = [*SMALL, f"--data.dataset={songs_folder}", "--train.steps=1", "--out", tmp_path / "run"]
    assert train(*options, "--model.mono_tracks=[bas]") == 1
    assert train(*options, "--model.mono_tracks=[bass]") == 0


def test_a_name_of_the_package_wins_over_a_folder_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "band").mkdir()
    assert train("--config", "band", "--dry-run") == 0


@pytest.mark.parametrize("text", ["train: 5", "[1, 2]", "train: {", "- a"])
def test_files_that_are_no_config(tmp_path, capsys, text):
    (tmp_path / "mine.yaml").write_text(text)
    assert train("--config", tmp_path / "mine.yaml", "--dry-run") == 1
    assert capsys.readouterr().err.startswith("musegan: error: ")


def test_output_that_cannot_be_written(songs_folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(*SMALL, f"--data.dataset={songs_folder}", "--out", tmp_path / "file" / "run") == 1
    assert "cannot make the run folder" in capsys.readouterr().err
