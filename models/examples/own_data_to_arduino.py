"""From a CSV file to an Arduino library.

A table of two sensors tells four activities apart. The model is trained on it, judged on rows it has not seen, and
exported as a library that predicts, and learns on, on the board, with the same integers.
"""

# %%
import csv
import shutil
from pathlib import Path

import numpy as np

import fxptrain
from fxptrain import layers
from fxptrain.export.verify import Request, verify

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## A table
#
# Yours is there already; here one is made up: the mean and the spread of acceleration along two axes, a temperature
# that says nothing, and the activity.

# %%
work = Path("runs/arduino")
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
draws = np.random.default_rng(0)
centres = {
    "rest": (0.0, 0.1, 9.8, 0.1),
    "walk": (0.5, 2.0, 9.6, 1.5),
    "run": (1.0, 5.0, 9.0, 4.0),
    "lie": (9.7, 0.1, 0.2, 0.1),
}
rows = []
for _ in range(1200):
    activity = str(draws.choice(list(centres)))
    values = centres[activity] + draws.normal(scale=(0.4, 0.5, 0.4, 0.5))
    rows.append([*(round(float(value), 3) for value in values), round(float(draws.normal(22, 3)), 1), activity])
names = ["x_mean", "x_spread", "z_mean", "z_spread", "temperature", "activity"]
for file, part in (("train.csv", rows[:1000]), ("new.csv", rows[1000:])):
    with (work / file).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([names, *part])
print((work / "train.csv").read_text(encoding="utf-8")[:160])

# %%
if plt:
    figure, axis = plt.subplots(figsize=(4, 2.6))
    for activity in centres:
        points = np.array([[row[1], row[2]] for row in rows if row[-1] == activity])
        axis.scatter(*points.T, s=4, label=activity)
    axis.set(xlabel="x_spread", ylabel="z_mean")
    axis.legend(markerscale=3)
    figure.tight_layout()

# %% [markdown]
# ## The model
#
# `data` says which column is the label. Each column gets a scale of its own, measured on the training rows and kept as
# integers, so that the board scales in the same way. A sixth of the rows is held out to test with.

# %%
model = fxptrain.Sequential(
    [layers.Linear(features=16), layers.ReLU(), layers.Linear(features=4)],
    input_shape=5,
    name="activity",
    init="uniform",
    data={"name": str(work / "train.csv"), "label": "activity", "validation": 100},
    schedule={"type": "cosine", "lr": 0.02},
    training={"epochs": 15, "batch_size": 16},
)
result = model.fit(out=work / "run")
print(f"test accuracy {result.test_accuracy:.1%}")

# %% [markdown]
# Other tables are read by the names of their columns, whatever their order, and classes by theirs.

# %%
print(f"new rows: {fxptrain.evaluate(model.run, work / 'new.csv').accuracy:.1%}")
print(model.predict([[0.1, 0.2, 9.9, 0.0, 25.0], [9.8, 0.0, 0.1, 0.1, 20.0]]))

# %% [markdown]
# ## The library
#
# `training=True` adds the training step: the board goes on where this run stopped. Copy the folder into Arduino's
# `libraries`, or add its ZIP there; the sketch in `examples` is the start.

# %%
made = model.export(work / "library", to="arduino", training=True, prefix="activity")
print(len(made["files"]), "files:", *(file for file in made["files"] if "/" not in file or "examples" in file))
print({name: size for name, size in made["sizes"].items() if isinstance(size, int)})

# %% [markdown]
# The library can be checked on this machine, where there is a C compiler: predictions and training steps give every
# integer that Python has.

# %%
if shutil.which("gcc"):
    checked = verify(work / "library", Request(samples=16, steps=5))
    print(f"equal: {checked['equal']}, {checked['compared']:,} integers compared")
