"""How YAML files and a command line become the config of a family of models."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path

import jsonargparse
import yaml

from musegan import resources
from musegan.config.gan import Config
from musegan.config.sequence import SequenceConfig
from musegan.config.vae import VaeConfig
from musegan.errors import UserError, one_line

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)

AnyConfig = Config | SequenceConfig | VaeConfig
FAMILIES: dict[str, type[AnyConfig]] = {each.family: each for each in (Config, SequenceConfig, VaeConfig)}
"""The config of each family of models, by its name."""
DEFAULT_FAMILY = Config.family


def keys(config: type[AnyConfig] | AnyConfig = Config, prefix: str = "") -> dict[str, object]:
    """Each key of a config by its dotted name, with its value (of the defaults, for a class)."""
    if isinstance(config, type):
        config = config()
    result = {}
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            result |= keys(value, f"{prefix}{part.name}.")
        else:
            result[prefix + part.name] = value
    return result


def find_family(argv: list[str]) -> str:
    """The family that a command line is about, before its other words can be understood: that of the last `--family`,
    else that which the last of the config files that state one does.

    Raises:
        UserError: no family has that name, or a file is of another than `--family`.
    """
    asked = values_of("--family", argv)[-1:]
    stated = [name for name in map(_family_of_file, _config_paths(argv)) if name is not None]
    family = [DEFAULT_FAMILY, *stated, *asked][-1]
    if not isinstance(family, str) or family not in FAMILIES:
        nearest = difflib.get_close_matches(str(family), FAMILIES, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise UserError(f"no family of models {family!r}: there are {', '.join(FAMILIES)}{hint}")
    if stated and stated[-1] != family:
        raise UserError(f"--family {family}: the config is of the family {stated[-1]}, whose keys are others")
    return family


def parser(prog: str, description: str = "", family: str = DEFAULT_FAMILY) -> jsonargparse.ArgumentParser:
    """A command line that takes every key of a family's config as an option, and whole files with `--config`.

    Args:
        description: by default what the family says of itself.
    """
    description = description or FAMILIES[family].description
    result = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    result.add_argument("--config", action="config", help="YAML file, or the name of one of the package's configs.")
    families = ", ".join(FAMILIES)
    result.add_argument("--family", type=str, default=family,
                        help=f"Family of models, {families}: each has keys of its own, see --family NAME --help.")
    result.add_class_arguments(FAMILIES[family], None)
    return result


def parse(command_line: jsonargparse.ArgumentParser, argv: list[str]) -> jsonargparse.Namespace:
    """Parses arguments; the fields `data`, `model` and `train` come back as dataclasses, see `resolved`.

    Raises:
        UserError: an unknown key (the nearest one is named), a value of the wrong type or out of range, or a
            config file that cannot be read.
    """
    files = [f"--config={path}" for path in _config_paths(argv)]    # first, so that options win wherever they stand
    try:
        return command_line.instantiate(command_line.parse_args([*files, *_without("--config", argv)]))
    except (jsonargparse.ArgumentError, ValueError, TypeError) as err:
        if isinstance(err, UserError):
            raise
        raise UserError(_plain(one_line(err)) + _nearest_key(str(err), command_line)) from err


def resolved(arguments: jsonargparse.Namespace) -> AnyConfig:
    """The config that parsed arguments hold.

    Raises:
        UserError: its parts contradict each other.
    """
    return FAMILIES[arguments.family](arguments.data, arguments.model, arguments.train)


def load(argv: list[str], prog: str = "musegan") -> AnyConfig:
    """The config that a command line of keys and `--config` gives, of whatever family."""
    return resolved(parse(parser(prog, family=find_family(argv)), argv))


def to_yaml(config: AnyConfig) -> str:
    """The whole config as a file that `--config` reads."""
    return yaml.safe_dump({"family": config.family, **dataclasses.asdict(config)}, sort_keys=False)


def values_of(option: str, argv: list[str]) -> list[str]:
    """What an option is given on a command line, each time."""
    pairs = zip(["", *argv], argv)
    return [word.removeprefix(f"{option}=") for before, word in pairs if before == option or word.startswith(f"{option}=")]


def _without(option: str, argv: list[str]) -> list[str]:
    """The other words; the option alone at the end stays, to be complained of."""
    return [word for i, word in enumerate(argv)
            if not (i and argv[i - 1] == option or word.startswith(f"{option}=") or word == option and i + 1 < len(argv))]


def _config_paths(argv: list[str]) -> list[Path]:
    """Files that `--config` names, those of the package by name."""
    return [Path(file) if Path(file).is_file() else resources.config_path(file) for file in values_of("--config", argv)]


def _family_of_file(path: Path) -> object:
    """The family that a config file states; None where it states none, or cannot be read, which `parse` tells."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(content, dict) or "family" not in content:
        return None
    return "null" if content["family"] is None else content["family"]


def _plain(message: str) -> str:
    """The parser's message about a value of the wrong type, without Python's names of types."""
    expected = r"(?:<class '(\w+)'>|typing\.Literal\[(.*)\])"
    found = re.fullmatch(rf'Parser key "([\w.]+)": Expected a {expected}\. Got value: (.*)', message)
    if not found:
        return message
    key, kind, choices, value = found.groups()
    rules = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word",
             "list": f"a list, such as [{value}]"}    # fmt: skip
    rule = rules.get(kind, kind) if kind else "one of " + choices.replace("'", "")
    return f"{key} must be {rule}: got {value}"


def _nearest_key(message: str, command_line: jsonargparse.ArgumentParser) -> str:
    """`; did you mean X?` for a message about an unknown key."""
    found = re.search(r"unrecognized arguments: --([\w.]+)|Group '([\w.]+)' does not accept option '([\w.]+)'"
                      r"|does not accept option '([\w.]+)'", message)
    if not found:
        return ""
    unknown = found[1] or (f"{found[2]}.{found[3]}" if found[2] else found[4])
    nearest = difflib.get_close_matches(unknown, [*command_line.get_defaults().keys()], n=1, cutoff=0.4)
    return f"; did you mean {nearest[0]}?" if nearest else ""
