"""Fine-tune an ONNX model.

A float model, here one that NumPy trains in a moment, is imported as integers. Its new home has a darker camera, so it
is trained on there, with integers only (extra `onnx`).
"""

# %%
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import fxptrain
from fxptrain.export.verify import Request, verify

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## A float model
#
# Yours comes out of PyTorch or Keras; this one has one hidden layer and reads pixels as 0 to 1.

# %%
work = Path("runs/onnx")
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
data = fxptrain.load_data("glyphs")
x = data.train.inputs.reshape(-1, 784).astype(np.float32) / 255
y = data.train.labels
draws = np.random.default_rng(0)
w1 = draws.normal(scale=0.05, size=(784, 64)).astype(np.float32)
w2 = draws.normal(scale=0.1, size=(64, 10)).astype(np.float32)
b1, b2 = np.zeros(64, np.float32), np.zeros(10, np.float32)
for _ in range(4):
    for batch in np.array_split(draws.permutation(len(x)), len(x) // 50):
        hidden = np.maximum(x[batch] @ w1 + b1, 0)
        powers = np.exp(hidden @ w2 + b2)
        error = (powers / powers.sum(axis=1, keepdims=True) - np.eye(10, dtype=np.float32)[y[batch]]) / len(batch)
        below = (error @ w2.T) * (hidden > 0)
        w2 -= 0.3 * hidden.T @ error
        b2 -= 0.3 * error.sum(axis=0)
        w1 -= 0.3 * x[batch].T @ below
        b1 -= 0.3 * below.sum(axis=0)

# %% [markdown]
# Written as an ONNX file:

# %%
nodes = [
    helper.make_node("Flatten", ["pixels"], ["row"]),
    helper.make_node("Gemm", ["row", "w1", "b1"], ["sums"]),
    helper.make_node("Relu", ["sums"], ["hidden"]),
    helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
]
arrays = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
graph = helper.make_graph(
    nodes,
    "net",
    [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, 28, 28])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
    [numpy_helper.from_array(values, name) for name, values in arrays.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), work / "net.onnx")

# %% [markdown]
# ## The same model in integers
#
# Formats are chosen so that what the training samples show fits. `options` are keys of a recipe: here 8 bits, and a
# training of one epoch at a low rate.

# %%
options = {"formats.param_bits": 8, "formats.activation_bits": 8, "schedule.lr": 0.01, "training.batch_size": 32}
model = fxptrain.Sequential.from_onnx(work / "net.onnx", data, options=options)
print(model)
logits = np.maximum(data.test.inputs.reshape(-1, 784) / 255 @ w1 + b1, 0) @ w2 + b2
print(f"as floats {(logits.argmax(axis=1) == data.test.labels).mean():.2%}")
print(f"as integers {model.score(data.test.inputs, data.test.labels):.2%}")

# %% [markdown]
# ## A darker camera
#
# The new home's pictures have a quarter of the light. A thousand of them are at hand.


# %%
def darkened(pixels):
    """Pictures of a camera that gets less light."""
    return (pixels // 4 + 8).astype(np.uint8)


here, labels = darkened(data.train.inputs[:1000]), data.train.labels[:1000]
test = darkened(data.test.inputs)
before = model.score(test, data.test.labels)
result = model.fit(here, labels, epochs=5)
after = model.score(test, data.test.labels)
print(f"in the dark: {before:.1%} before, {after:.1%} after {result.summary['steps']} steps")

# %%
if plt:
    figure, axes = plt.subplots(1, 3, figsize=(6, 1.9), width_ratios=(1, 1, 2))
    for axis, picture, title in zip(axes, (data.test.inputs[0], test[0]), ("before", "in the dark"), strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    axes[2].bar(["imported", "fine-tuned"], [before, after])
    axes[2].set(ylim=(0, 1), ylabel="accuracy")
    figure.tight_layout()

# %% [markdown]
# ## Back to ONNX
#
# The export computes with the same integers in onnxruntime.

# %%
model.export(work / "integers", to="onnx")
checked = verify(work / "integers", Request(samples=64, steps=0))
print(f"equal: {checked['equal']}, {checked['compared']:,} integers compared")
