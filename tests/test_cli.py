"""The console script: dispatch, exit codes, the one line of an error; and what comes with the package."""

from __future__ import annotations

import json
import sys

import pytest

from musegan import __version__, cli, resources
from musegan.errors import UserError


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cli.COMMANDS)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"musegan {__version__}\n"


def test_no_command_is_wrong_usage(capsys):
    assert cli.main([]) == 2
    assert capsys.readouterr().out.startswith("usage: musegan COMMAND")


def test_unknown_command_names_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert capsys.readouterr().err == "musegan: error: no command 'trian': did you mean 'train'?\n"


def test_info_as_json(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["musegan"])
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["musegan"] == __version__
    assert found["ops"]["bernoulli"].keys() == {"cpu", "cuda"}
    assert found["native"]["loaded"] or found["native"]["reason"]


def test_info_as_table(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["musegan"])
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "native library" in printed and "bernoulli" in printed


def of_the_user(argv):
    raise UserError("folder 'x'\nis empty")


def of_the_system(argv):
    open("/nowhere/at/all")



def interrupted(argv):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "command, code, line",
    [
        (of_the_user, 1, "folder 'x' is empty"),
        (of_the_system, 1, "[Errno 2] No such file or directory: '/nowhere/at/all'"),
        (interrupted, 130, "interrupted"),
    ],
)
def test_an_error_of_the_users_is_one_line(capsys, command, code, line):
    assert cli.run(command) == code
    assert capsys.readouterr().err == f"musegan: error: {line}\n"


def test_a_check_of_this_package_is_one_line(capsys):
    from musegan.roll import RollSpec

    assert cli.run(lambda argv: RollSpec(tracks=())) == 1
    assert capsys.readouterr().err == "musegan: error: tracks must not be empty\n"


@pytest.mark.parametrize("bug", [lambda argv: int("x"), lambda argv: 1 / 0, lambda argv: [].pop()])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises((ValueError, ZeroDivisionError, IndexError)):
        cli.run(bug)


def test_a_failing_library_call_inside_the_package_is_a_bug():
    """`resources` raises nothing here itself: the error comes from pathlib."""
    with pytest.raises(TypeError):
        cli.run(lambda argv: resources._check_name("config", 3, ["band"]))


def test_every_config_and_data_set_is_found():
    assert resources.config_names() and resources.dataset_names()
    assert all(resources.config_path(name).is_file() for name in resources.config_names())
    assert all(resources.dataset_path(name).is_dir() for name in resources.dataset_names())


def test_unknown_names_are_told_with_the_nearest():
    name = resources.dataset_names()[0]
    with pytest.raises(UserError, match=f"no data set '{name}x' comes with musegan.*did you mean '{name}'"):
        resources.dataset_path(name + "x")
    with pytest.raises(UserError, match="no config '../band' comes with musegan: there are"):
        resources.config_path("../band")
