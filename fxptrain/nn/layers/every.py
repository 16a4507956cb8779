"""The layers of the package under their names, said once: `fxptrain.layers` and `nn.spec` take them from here.

What does not belong here: which kinds there are at run time, with those from outside the package (`registry`).
"""

from fxptrain.nn.layers.activation import LeakyReLU, ReLU, ReLU6
from fxptrain.nn.layers.add import Add
from fxptrain.nn.layers.conv import Conv2d, Linear
from fxptrain.nn.layers.depthwise import DepthwiseConv2d
from fxptrain.nn.layers.layout import Concat, Flatten
from fxptrain.nn.layers.normalization import BatchNorm
from fxptrain.nn.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d
from fxptrain.nn.layers.series import AvgPool1d, Conv1d, DepthwiseConv1d, MaxPool1d

__all__ = [
    "Add",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "Flatten",
    "GlobalAvgPool",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "ReLU",
    "ReLU6",
]
