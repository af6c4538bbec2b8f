"""The tour, in English, in Chinese and as a notebook: one tour, whose code runs and prints what the pages say.

`python -m tests.test_tour` writes the notebook anew, from the English page.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("tour.md", "tour.zh-CN.md")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
UNTRAINED = ("songs kept apart ", "training songs ", "band ")    # rows of tables that no training on this machine decides
RUN = """
import json, sys
names = {"__name__": "__main__"}
for cell in json.load(sys.stdin):
    exec(compile(cell, "<cell>", "exec"), names)
    print(end="\\0", flush=True)
"""


def code_of(page):
    return [text for language, text in BLOCK.findall((DOCS / page).read_text()) if language == "python"]


def outputs_of(page):
    """What each code block prints; empty where the page shows nothing."""
    found = []
    for language, text in BLOCK.findall((DOCS / page).read_text()):
        if language == "python":
            found.append("")
        else:
            found[-1] = text
    return found


def pictures_of(page):
    return re.findall(r"^!\[.+\]\((tour-\S+\.png)\)$", (DOCS / page).read_text(), flags=re.MULTILINE)


def notebook():
    """The English page as a notebook: its code as cells, the text between them without outputs and pictures."""
    shown = re.compile(r"^!\[[^\n]*\n\n|^```text\n.*?^```\n", flags=re.DOTALL | re.MULTILINE)
    page = shown.sub("", (DOCS / "tour.md").read_text())
    cells = []
    for i, part in enumerate(BLOCK.split(page)):    # text, "python", code, text, ...
        kind = {"cell_type": "code", "execution_count": None, "outputs": []} if i % 3 == 2 else {"cell_type": "markdown"}
        for piece in [part] if i % 3 == 2 else re.split(r"^(?=## )", part, flags=re.MULTILINE):
            if i % 3 != 1 and piece.strip():
                source = piece.strip("\n").splitlines(keepends=True)
                cells.append({"id": f"cell-{len(cells):02}", **kind, "metadata": {}, "source": source})
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def test_the_notebook_is_the_english_page():
    assert (DOCS / "tour.ipynb").read_text() == notebook(), "python -m tests.test_tour writes it anew"


def test_both_pages_show_the_same():
    english, chinese = ((code_of(page), outputs_of(page), pictures_of(page)) for page in PAGES)
    assert english == chinese


def test_pictures_are_small():
    pictures = pictures_of("tour.md")
    assert pictures and set(pictures) == {path.name for path in DOCS.glob("tour-*.png")}
    assert all((DOCS / picture).stat().st_size < 60_000 for picture in pictures)


def test_cells_are_of_the_public_api():
    for cell in code_of("tour.md"):
        compile(cell, "<cell>", "exec")
        assert not re.search(r"(\.|import )_\w", cell)
        assert max(map(len, cell.splitlines())) <= 125


@pytest.mark.exhaustive
def test_the_tour_runs(tmp_path):
    """All cells in one process, in an empty folder; what no training decides is printed exactly as the page has it."""
    cells = json.loads((DOCS / "tour.ipynb").read_text())["cells"]
    cells = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(cells), text=True, capture_output=True, cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},    # one core, as the page says
    )    # fmt: skip
    assert done.returncode == 0, done.stderr
    printed, said = done.stdout.split("\0")[:-1], outputs_of("tour.md")
    first_trained = next(i for i, cell in enumerate(cells) if "sequence.train(" in cell)
    assert printed[:first_trained] == said[:first_trained]
    assert [bool(text) for text in printed] == [bool(text) for text in said]
    rows, shown = ([line for text in texts for line in text.splitlines() if line.startswith(UNTRAINED)]
                   for texts in (printed, said))
    assert rows == shown and len(rows) == 5
    (folder,) = tmp_path.iterdir()
    assert f"{' '.join(sorted(path.name for path in folder.glob('*.*')))}\n" == printed[-1] == said[-1]
    assert (folder / "played.wav").read_bytes()[:4] == b"RIFF"


if __name__ == "__main__":
    (DOCS / "tour.ipynb").write_text(notebook())
