"""Every command and every example of both READMEs does what it says."""

import re
import shlex
from pathlib import Path

import pytest

from musegan import cli, config, options, prepare
from musegan.data.tracks import load_preset

ROOT = Path(__file__).parent.parent
# So that a run ends in seconds; everything else is as the README has it.
SHORT = ("--train.steps 2 --train.batch_size 4 --train.validation_samples 8 --data.n_bars 2 "
         "--model.generator_width 16").split()
SHORT_MELODY = "--train.steps 2 --train.batch_size 4 --model.width 16".split()


def blocks(language, readme="README.md"):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / readme).read_text(), flags=re.DOTALL)


def commands():
    return [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines() if line.strip()]


def test_both_readmes_give_the_same_commands():
    strip = [[line.split("#")[0].rstrip() for line in "".join(blocks("sh", readme)).splitlines()]
             for readme in ("README.md", "README.zh-CN.md")]
    assert strip[0] == strip[1]
    code = [re.sub(r"#.*", "", "".join(blocks("python", readme))) for readme in ("README.md", "README.zh-CN.md")]
    assert code[0] == code[1]


def test_links_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for command in commands():
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", makefile, flags=re.MULTILINE), command


GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_of_the_guides_are_understood(guide, tmp_path, monkeypatch):
    """On music of one's own in place of the folders that the guide names; options and their values are the guide's."""
    monkeypatch.chdir(tmp_path)
    for block in blocks("sh", guide):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program in ("torchrun", "accelerate"):
                program, arguments = "musegan", ["train", *arguments[arguments.index("musegan.train") + 1 :]]
            if program != "musegan":
                assert program in ("pip", "python"), line
            elif arguments[0] == "train":
                assert cli.main([*arguments, "--dry-run"]) == 0, line
            elif arguments[0] == "prepare":
                understood = prepare._parser().parse_args(arguments[1:])
                assert understood.inputs and understood.out, line
            elif arguments[0] == "generate":
                request = options.sequence_request if "--melody-model" in arguments else options.request
                assert request(options.parser().parse_args(arguments[1:])), line
            else:
                assert arguments[0] in cli.COMMANDS, line


def test_the_guide_s_preset_is_one(tmp_path):
    (text,) = blocks("yaml", "docs/your-own-midi.md")
    (tmp_path / "jig.yaml").write_text(text)
    preset = load_preset(tmp_path / "jig.yaml")
    assert (preset.spec.quarters_per_bar, preset.spec.steps_per_bar, preset.spec.n_tracks) == (3, 12, 5)


@pytest.mark.slow
def test_commands_run(tmp_path, monkeypatch):
    """In order, in one folder, as a newcomer types them; the installation is the release check's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    ran = []
    for program, *arguments in commands():
        if program in ("make", "pip"):
            continue
        if program == "python":
            assert arguments == ["-m", "benchmarks.ops"]
            continue    # tests/ops/test_benchmark.py
        assert program == "musegan"
        if arguments[0] == "train" and "--resume" not in arguments and "--dry-run" not in arguments:
            arguments += SHORT if config.find_family(arguments) == "gan" else SHORT_MELODY
        if arguments[0] == "evaluate":
            arguments += ["--n", "60"]
        assert cli.main(arguments) == 0, arguments
        ran.append(arguments[0])
    assert set(ran) == set(cli.COMMANDS)
    assert (tmp_path / "runs" / "band" / "data" / "report.json").exists()    # the embedded music, prepared for the run
    for block in blocks("python"):
        exec(block, {})
    assert len(list(tmp_path.glob("[0-9].mid"))) == 4
    assert len(list((tmp_path / "music").glob("*.wav"))) == 8
