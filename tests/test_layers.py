"""Imports point down and siblings stay apart, as docs/design.md draws it."""

import ast
from pathlib import Path

import pytest

import musegan

PACKAGE = Path(musegan.__file__).parent
LAYERS = [
    {"errors"},
    {"roll", "resources", "files", "seeding"},
    {"ops", "config", "keys", "tokens"},
    {"data", "models", "losses", "metrics", "export"},
    {"latents", "decoding"},
    {"sampling", "evaluation"},
    {"accompaniment", "reconstruction", "sequences"},
    {"training", "pages", "requests"},
    {"sequence_requests"},
    {"prepare", "train", "generate", "options", "evaluate", "inspect", "info", "cli", "__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
COMMANDS = len(LAYERS) - 1    # the one layer whose parts share: the command line, the versions
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"
               and "embedded_data" not in path.parts)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "musegan" else {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}: relative import")
    return {name.split(".")[1] for name in names if name.startswith("musegan.")} - {"_C", "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = part_of(path)
    for other in imported_parts(path) - {part}:
        below = LEVEL[other] < LEVEL[part] or LEVEL[part] == LEVEL[other] == COMMANDS
        assert below, f"{part} (layer {LEVEL[part]}) imports {other} (layer {LEVEL[other]})"


def test_every_part_has_a_layer():
    assert {part_of(path) for path in FILES} == set(LEVEL)


def test_every_folder_is_a_package():
    """Or it would be missing from the wheel, which an editable installation hides."""
    folders = {path.parent for path in FILES}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
