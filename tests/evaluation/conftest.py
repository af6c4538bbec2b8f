"""All tests here but the golden tables take the cheaper evaluation."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _cheap(few_splits):
    pass
