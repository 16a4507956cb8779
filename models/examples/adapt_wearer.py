"""Adapt to a new wearer.

A network tells activities by the acceleration at the wrist. A new wearer has the watch on the other arm and moves in
another way: twenty samples of each activity tune the last layer, and those whom it knew are not forgotten.
"""

# %%
import shutil
from pathlib import Path

import numpy as np

import fxptrain
from fxptrain import layers

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## Wearers
#
# Made up here: two seconds of three axes, 32 samples a second. Every wearer has a pace, a strength and an angle at
# which the watch sits; a wearer on the other arm sees two axes turned round.

# %%
names = ("rest", "walk", "run", "stairs")
work = Path("runs/wearer")
shutil.rmtree(work, ignore_errors=True)
draws = np.random.default_rng(0)
seconds = np.arange(64) / 32


def wearer(pace, strength, angle, other_arm, samples):
    """Samples (n, 64, 3) of a wearer and their activities."""
    y = np.arange(samples) % 4
    rates = pace * np.array([0.0, 1.8, 2.8, 1.5])[y][:, None] * draws.normal(1, 0.05, (samples, 1))
    power = strength * np.array([0.05, 1.0, 2.5, 1.0])[y][:, None]
    turn = 2 * np.pi * (rates * seconds + draws.uniform(size=(samples, 1)))
    x = np.stack(
        [
            power * np.sin(turn),
            power * np.sin(2 * turn + 1) + 0.6 * (y == 3)[:, None] * power,
            9.8 + power * np.cos(turn),
        ],
        axis=2,
    )
    x[..., 0], x[..., 2] = (
        np.cos(angle) * x[..., 0] - np.sin(angle) * x[..., 2],
        np.sin(angle) * x[..., 0] + np.cos(angle) * x[..., 2],
    )
    x += draws.normal(scale=0.4, size=x.shape)
    return (x * ([-1, -1, 1] if other_arm else [1, 1, 1])).astype(np.float32), y


known = [
    wearer(draws.uniform(0.9, 1.1), draws.uniform(0.8, 1.2), draws.uniform(-0.3, 0.3), False, 480) for _ in range(6)
]
x, y = np.concatenate([one[0] for one in known]), np.concatenate([one[1] for one in known])
order = draws.permutation(len(y))
old = {"x_train": x[order[480:]], "y_train": y[order[480:]], "x_test": x[order[:480]], "y_test": y[order[:480]]}
fresh_x, fresh_y = wearer(0.8, 0.6, 0.5, True, 480)
new = {"x_train": fresh_x[:80], "y_train": fresh_y[:80], "x_test": fresh_x[80:], "y_test": fresh_y[80:]}

# %%
if plt:
    figure, axes = plt.subplots(1, 2, figsize=(6, 2), sharey=True)
    for axis, sample, title in zip(axes, (x[2], fresh_x[2]), ("known, running", "new, running"), strict=True):
        axis.plot(seconds, sample)
        axis.set_title(title, fontsize=8)
    figure.tight_layout()

# %% [markdown]
# ## The network
#
# Convolutions along time, with all tensors of 8 bits.

# %%
model = fxptrain.Sequential(
    [
        layers.Conv1d(channels=16, kernel=5),
        layers.ReLU(),
        layers.MaxPool1d(size=2),
        layers.Conv1d(channels=24, kernel=5),
        layers.ReLU(),
        layers.MaxPool1d(size=2),
        layers.Flatten(),
        layers.Linear(features=32),
        layers.ReLU(),
        layers.Linear(features=4),
    ],
    input_shape=(1, 64, 3),
    name="wearer",
    formats={"param_bits": 8, "activation_bits": 8, "error_bits": 8},
    schedule={"type": "cosine", "lr": 0.02},
    training={"epochs": 6, "batch_size": 32, "seed": 0},
)
model.fit(old["x_train"], old["y_train"])
model.save(work / "base")
print(f"known wearers {model.score(old['x_test'], old['y_test']):.1%}, the new one {model.score(fresh_x, fresh_y):.1%}")

# %% [markdown]
# ## Score, adapt, score
#
# `old` says where the samples of the known wearers are: the ring is filled from them, and forgetting measured on them.

# %%
found = {}
for replay in (60, 0):
    asked = fxptrain.Adapting(replay=replay)
    adapted = fxptrain.adapt(work / "base", new, old=old, asked=asked, out=work / f"replay-{replay}")
    found[replay] = adapted.summary
    for name in ("new", "old"):
        one = adapted.summary[name]
        print(f"replay {replay}, {name} wearers: {one['before']:.1%} before, {one['after']:.1%} after")
print(f"the ring takes {found[60]['replay']['bytes']:,} bytes")

# %%
if plt:
    figure, axis = plt.subplots(figsize=(4, 2.2))
    for at, replay in enumerate((60, 0)):
        axis.bar([at - 0.2], found[replay]["new"]["after"], 0.38, color="C0", label="new" if not at else None)
        axis.bar([at + 0.2], found[replay]["old"]["after"], 0.38, color="C1", label="old" if not at else None)
    axis.set_xticks([0, 1], ["replay", "no replay"])
    axis.set(ylim=(0, 1), ylabel="accuracy after")
    axis.legend(loc="lower right")
    figure.tight_layout()

# %% [markdown]
# A board does the same from here on: `fxptrain export runs/wearer/replay-60 --training --replay --out c`.
