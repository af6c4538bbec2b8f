"""Comparisons with held-out pieces that cost little, for tests of the loop around them."""

import pytest


@pytest.fixture
def cheap_comparisons(monkeypatch):
    """Thresholds from few phrases, pictures without a picture: these take most of a short run."""
    monkeypatch.setattr("musegan.training.calibration._N_PHRASES", 16)
    monkeypatch.setattr("musegan.training.validation.write_png", lambda path, *arguments, **options: path.write_bytes(b""))
