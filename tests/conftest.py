"""Settings of the whole test suite: Hypothesis profiles, the order of files; nothing that a single test needs."""

import os

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Files that take a minute or more from an empty cache of kernels, most of it to compile; the longest first.
LONG = (
    *("memory/test_plan", "nn/layers/test_contract", "export/test_branching", "nn/layers/test_activation"),
    *("nn/layers/test_conv", "export/test_programs", "export/test_tuning", "nn/test_tuning", "export/test_replay"),
    *("nn/engine/test_limbs", "nn/engine/test_step", "nn/layers/test_groups", "nn/layers/test_curve"),
    *("nn/engine/test_schedules", "export/test_boards", "export/test_goals", "export/test_targets"),
    "export/test_misra",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the files, long ones come first: else one process works on the last, the others wait."""
    if hasattr(config, "workerinput"):
        places = {f"tests/{name}.py": place for place, name in enumerate(LONG)}
        items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONG)))
