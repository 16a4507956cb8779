"""All kinds of layers under their own names, for models made in Python: ``from fxptrain import layers``.

The keys of a layer in a recipe are its arguments; ``name``, ``input`` and ``inputs`` make a graph of layers. What does
not belong here: what they compute (`fxptrain.nn.layers`).

Examples
--------
>>> Conv2d(channels=8, kernel=(5, 5)).type
'conv2d'
"""

from fxptrain.nn.layers.activation import LeakyReLU, ReLU, ReLU6
from fxptrain.nn.layers.add import Add
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.conv import Conv2d, Linear
from fxptrain.nn.layers.depthwise import DepthwiseConv2d
from fxptrain.nn.layers.layout import Concat, Flatten
from fxptrain.nn.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d
from fxptrain.nn.layers.registry import register
from fxptrain.nn.layers.series import AvgPool1d, Conv1d, DepthwiseConv1d, MaxPool1d

__all__ = [
    "Add",
    "AvgPool1d",
    "AvgPool2d",
    "Concat",
    "Conv1d",
    "Conv2d",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "Flatten",
    "GlobalAvgPool",
    "LayerSpec",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "ReLU",
    "ReLU6",
    "register",
]
