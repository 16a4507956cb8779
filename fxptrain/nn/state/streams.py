"""The one table of rounding sites: which stream of draws each rounding uses.

The stream of a site is ``16 * layer + kind``, layers numbered along the model as written in its specification; the loss
counts as the layer after the last. Streams from 2**31 on belong to the data (shuffling, splitting, built-in sets).
"""

from __future__ import annotations

import enum

KINDS_PER_LAYER = 16


class Site(enum.IntEnum):
    """Kinds of rounding within a layer, and of other draws."""

    FORWARD = 0
    INPUT_ERROR = 1
    WEIGHT_MOMENTUM = 2
    WEIGHT = 3
    BIAS_MOMENTUM = 4
    BIAS = 5
    WEIGHT_INIT = 6
    BIAS_INIT = 7
    WEIGHT_REGRID = 8
    WEIGHT_MOMENTUM_REGRID = 9
    BIAS_REGRID = 10
    BIAS_MOMENTUM_REGRID = 11
    OUTPUT_ERROR = 12
    DROPOUT = 13
    RING = 14  # which place a latent takes; of the layer after the last, as what follows
    REPLAY = 15  # which places a step replays


def stream(layer: int, site: Site) -> int:
    """Stream id of a rounding site.

    Parameters
    ----------
    layer : int
        Its number in the model's specification.
    site : Site
        What is rounded.

    Examples
    --------
    >>> stream(2, Site.WEIGHT)
    35
    """
    return KINDS_PER_LAYER * layer + int(site)
