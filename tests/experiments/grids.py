"""A grid of eight short trainings on files, for all tests of sweeps."""

from pathlib import Path

from tests.small import save_npz, small_data, small_recipe

GRID = """
name = "tiny"
title = "Two batches, two methods"
recipe = "small.toml"

[set]
training.epochs = EPOCHS

[[axes]]
name = "batch"
key = "training.batch_size"
values = [4, 16]

[[axes]]
name = "method"
values = [
    { label = "sqpu", set.optimizer.method = "sqpu" },
    { label = "hteqpu", set.optimizer.method = "hteqpu" },
]

[[axes]]
name = "bits"
values = [{ label = "8", set.formats.param_bits = 8 }]

[[axes]]
name = "seed"
key = "training.seed"
values = [0, 1]

[view]
rows = "bits"
columns = "batch"
panels = "method"

[scales.half]
set = { training.epochs = 1 }
keep = { seed = [1] }
note = "For a look."
"""


def tiny_grid(directory: Path, *, epochs: int = 2, extra: str = "") -> Path:
    """Write data, recipe and grid; the path of the grid."""
    save_npz(small_data(240), directory / "small.npz")
    recipe = small_recipe(data__name=str(directory / "small.npz"))
    (directory / "small.toml").write_text(recipe.to_toml(), encoding="utf-8")
    path = directory / "tiny.toml"
    path.write_text(GRID.replace("EPOCHS", str(epochs)) + extra, encoding="utf-8")
    return path
