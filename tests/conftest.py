"""Real music for the tests: some of the embedded songs, prepared once."""

import pytest

from musegan import resources
from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.evaluation import comparison, originality

SONGS = ("phase1-e1m1", "phase1-e1m4", "phase1-e2m3", "phase1-e2m5", "phase1-e3m3", "phase2-adrian", "phase2-countd",
         "phase2-evil")


@pytest.fixture(scope="session")
def songs_folder(tmp_path_factory):
    """A packed data set of eight songs in five tracks."""
    files = [resources.dataset_path("freedoom") / f"{name}.mid" for name in SONGS]
    folder = tmp_path_factory.mktemp("songs") / "dataset"
    prepare(files, folder, Rules(PRESETS["lpd5"]))
    return folder


@pytest.fixture(scope="session")
def songs(songs_folder):
    return PackedDataset.open(songs_folder)


COSTLY = {    # of an evaluation, and what will do for tests
    (comparison, "N_VECTOR_SPLITS"): 3,
    (comparison, "N_CLASSIFIER_SPLITS"): 1,
    (originality, "MAX_QUERIES"): 300,
    (originality, "MAX_MELODIES"): 40,
    (originality, "MAX_CORPUS_MELODIES"): 300,
}
WHOLE = {place: getattr(*place) for place in COSTLY}


@pytest.fixture(scope="module")
def few_splits():
    """A cheaper evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        for place, number in COSTLY.items():
            patch.setattr(*place, number)
        yield


@pytest.fixture
def all_splits():
    """The evaluation as users have it."""
    with pytest.MonkeyPatch.context() as patch:
        for place, number in WHOLE.items():
            patch.setattr(*place, number)
        yield
