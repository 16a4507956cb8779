"""Tests of optional parts: skipped with a reason where an extra is not installed, never in continuous integration."""

import os
from importlib.util import find_spec

import pytest


def needs(extra: str, *libraries: str) -> pytest.MarkDecorator:
    """Mark of tests that need an extra; in continuous integration they run, and fail, without it."""
    missing = [name for name in libraries if find_spec(name) is None]
    wanted = os.environ.get("CI") == "true"
    return pytest.mark.skipif(bool(missing) and not wanted, reason=f"needs fxptrain[{extra}]: {', '.join(missing)}")
