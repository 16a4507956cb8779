"""Floor 3, what a model learns from: data sets from files or built in, normalization, and which samples come when."""

from fxptrain.data.dataset import Dataset, Split, make_split
from fxptrain.data.glyphs import draw_glyphs
from fxptrain.data.normalization import Normalization, input_table, quantize_inputs
from fxptrain.data.ordering import balanced_order, batches, epoch_order, split_validation
from fxptrain.data.sources import NAMES, load_data

__all__ = [
    "NAMES",
    "Dataset",
    "Normalization",
    "Split",
    "balanced_order",
    "batches",
    "draw_glyphs",
    "epoch_order",
    "input_table",
    "load_data",
    "make_split",
    "quantize_inputs",
    "split_validation",
]
