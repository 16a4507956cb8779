"""All kinds of layers under their own names, for models made in Python: ``from fxptrain import layers``.

The keys of a layer in a recipe are its arguments; ``name``, ``input`` and ``inputs`` make a graph of layers. What does
not belong here: what they compute (`fxptrain.nn.layers`).

Examples
--------
>>> Conv2d(channels=8, kernel=(5, 5)).type
'conv2d'
"""

from fxptrain.nn.layers import every
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.every import *  # noqa: F403  the one list of them
from fxptrain.nn.layers.registry import register

__all__ = ["LayerSpec", "register"]
__all__ += every.__all__
