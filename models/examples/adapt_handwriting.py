"""Adapt to a new handwriting.

A network knows glyphs; then somebody writes them aslant. Its last layers learn that from a hundred samples, while old
samples are replayed from a ring of integers, so that the old writing is not forgotten.
"""

# %%
import shutil
from pathlib import Path

import numpy as np

import fxptrain

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## What is known
#
# The built-in images, some of them, and a run of the recipe `glyphs` trained on those.

# %%
work = Path("runs/handwriting")
shutil.rmtree(work, ignore_errors=True)
data = fxptrain.load_data("glyphs")
recipe = fxptrain.load_recipe("glyphs").changed({"training.epochs": 3, "data.limit": 4000})
base = fxptrain.train(recipe, out=work / "base")
print(f"test accuracy {base.test_accuracy:.1%}")

# %% [markdown]
# ## Another hand
#
# Every row moves sideways by its height. A hundred samples are at hand to learn from.


# %%
def slanted(pixels):
    """Glyphs written aslant."""
    return np.stack([np.roll(pixels[:, row], (14 - row) * 3 // 4, axis=1) for row in range(28)], axis=1)


new = {
    "x_train": slanted(data.train.inputs[-100:]),
    "y_train": data.train.labels[-100:],
    "x_test": slanted(data.test.inputs),
    "y_test": data.test.labels,
}
print(f"on the new writing {fxptrain.evaluate(base, (new['x_test'], new['y_test'])).accuracy:.1%}")

# %%
if plt:
    figure, axes = plt.subplots(2, 8, figsize=(6, 1.7))
    for above, below, pixels in zip(*axes, data.test.inputs[10:], strict=False):
        above.imshow(pixels, cmap="gray")
        below.imshow(slanted(pixels[None])[0], cmap="gray")
        above.axis("off")
        below.axis("off")

# %% [markdown]
# ## Score, adapt, score
#
# The last two layers learn. The others run once for a sample, and what they give is kept: 200 places of 256 integers of
# 8 bits. `replay=0` shows what is forgotten without.

# %%
found = {}
for replay in (200, 0):
    asked = fxptrain.Adapting(replay=replay, train_last=2)
    adapted = fxptrain.adapt(base, new, asked=asked, out=work / f"replay-{replay}")
    found[replay] = adapted.summary
    for name in ("new", "old"):
        one = adapted.summary[name]
        print(f"replay {replay}, {name} writing: {one['before']:.1%} before, {one['after']:.1%} after")
print(f"the ring takes {found[200]['replay']['bytes']:,} bytes")

# %%
if plt:
    figure, axis = plt.subplots(figsize=(4, 2.2))
    for at, replay in enumerate((200, 0)):
        axis.bar([at - 0.2], found[replay]["new"]["after"], 0.38, color="C0", label="new" if not at else None)
        axis.bar([at + 0.2], found[replay]["old"]["after"], 0.38, color="C1", label="old" if not at else None)
    axis.set_xticks([0, 1], ["replay", "no replay"])
    axis.set(ylim=(0.5, 1), ylabel="accuracy after")
    axis.legend(loc="lower right")
    figure.tight_layout()

# %% [markdown]
# The result is a run as any other, with its ring: adapt it again to what comes next, or have a board do it, with the
# same bits: `fxptrain export runs/handwriting/replay-200 --training --replay --out c`.
