"""A first training.

A small convolutional network learns the built-in images, with integers only, and is saved. It takes a few seconds, and
half a minute more the first time, when its kernels are compiled. Nothing is downloaded.
"""

# %%
import shutil
from pathlib import Path

import fxptrain
from fxptrain import layers

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## The data
#
# Ten glyphs, drawn by the program itself: 28 x 28 pixels, the same on every machine. Your own data may be arrays
# `(x, y)`, tables of pandas, or files.

# %%
data = fxptrain.load_data("glyphs")
print(data)

# %%
if plt:
    figure, axes = plt.subplots(1, 8, figsize=(6, 0.9))
    for axis, pixels, label in zip(axes.flat, data.train.inputs, data.train.labels, strict=False):
        axis.imshow(pixels, cmap="gray")
        axis.set_title(data.classes[label], fontsize=7)
        axis.axis("off")

# %% [markdown]
# ## The model
#
# Layers are Python objects. All other options are sections of a recipe, with its defaults: here weights, activations
# and errors of 8 bits, and a learning rate that falls by a cosine.

# %%
model = fxptrain.Sequential(
    [
        layers.Conv2d(channels=8, kernel=(5, 5)),
        layers.MaxPool2d(size=(2, 2)),
        layers.ReLU(),
        layers.Conv2d(channels=16, kernel=(5, 5)),
        layers.MaxPool2d(size=(2, 2)),
        layers.ReLU(),
        layers.Flatten(),
        layers.Linear(features=64),
        layers.ReLU(),
        layers.Linear(features=10),
    ],
    input_shape=(28, 28),
    name="first",
    init="uniform",
    formats={"param_bits": 8, "activation_bits": 8, "error_bits": 8},
    schedule={"type": "cosine", "lr": 0.01},
    training={"epochs": 3, "batch_size": 32, "seed": 0},
)
print(model.summary())

# %% [markdown]
# ## Training
#
# A callback hears of every epoch, and may end the training by returning `True`.


# %%
def tell(record):
    """Print a line about an epoch."""
    print(
        f"epoch {record['epoch']}: loss {record['loss']:.3f}, accuracy {record['accuracy']:.1%}, "
        f"validation {record['validation_accuracy']:.1%}"
    )
    return record["validation_accuracy"] > 0.995


x, y = data.train.inputs, data.train.labels
result = model.fit(x, y, validation=1000, callbacks=[tell])
print(result)

# %%
if plt:
    figure, axis = plt.subplots(figsize=(4, 2.2))
    epochs = [record["epoch"] for record in result.history]
    for key, name in (("loss", "training"), ("validation_loss", "validation")):
        axis.plot(epochs, [record[key] for record in result.history], marker="o", label=name)
    axis.set(xlabel="epoch", ylabel="loss", xticks=epochs)
    axis.legend()
    figure.tight_layout()

# %% [markdown]
# ## What it has learned
#
# The test images were not looked at so far.

# %%
found = model.evaluate(data.test.inputs, data.test.labels)
print(f"test accuracy {found.accuracy:.2%}")
wrong = {data.classes[i]: recall for i, recall in enumerate(found.recall) if recall < 1}
print("recall:", ", ".join(f"{name} {recall:.1%}" for name, recall in wrong.items()))

# %%
if plt:
    figure, axis = plt.subplots(figsize=(3.2, 3.2))
    axis.imshow(found.confusion, cmap="Blues", norm="symlog")
    axis.set_xticks(range(10), data.classes, rotation=90, fontsize=7)
    axis.set_yticks(range(10), data.classes, fontsize=7)
    axis.set(xlabel="taken for", ylabel="is")
    figure.tight_layout()

# %% [markdown]
# The weights are integers. A real value is the integer times 2 to the power of minus `frac_bits`.

# %%
for name, integers in model.run.model.state_arrays().items():
    print(f"{name:18} {integers.dtype!s:6} {integers.shape}")
print(model.run.model.stages[0].parameters[0].form.format)

# %% [markdown]
# ## Keeping it
#
# A saved model is a run directory, which the command line knows, too: `fxptrain info runs/first`, or `export`.

# %%
shutil.rmtree("runs/first", ignore_errors=True)
model.save("runs/first")
again = fxptrain.Sequential.load("runs/first")
assert (again.predict(data.test.inputs) == model.predict(data.test.inputs)).all()
print(sorted(path.name for path in Path("runs/first").iterdir()))
print(f"weights SHA-256 {again.run.model.weights_sha256()}")
