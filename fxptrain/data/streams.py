"""The stream ids of every draw that floor 3 makes, in one table.

Streams below 2**31 belong to the layers; the data takes the upper half, so that no seed can make the two meet.
What does not belong here: the draws themselves (`fxptrain.fixed.draws`).
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 1 << 31

SHUFFLE: Final = FIRST  # order of the samples; step = epoch, two words a sample
VALIDATION: Final = FIRST + 1  # which training samples validate; step = 0, two words a sample
HOLD_OUT: Final = FIRST + 2  # which samples of a file without a test split become one; step = 0, two words a sample
GLYPH_SHAPE: Final = FIRST + 3  # distortion of a glyph; step = split, DRAWS_PER_GLYPH words a sample
GLYPH_NOISE: Final = FIRST + 4  # noise of a glyph; step = split, one byte a pixel
AUGMENT: Final = FIRST + 5  # what becomes of a sample; step = epoch, `augmentation.WORDS` words a sample
AUGMENT_NOISE: Final = FIRST + 6  # noise added to a sample; step = epoch, a word an element
QUOTA: Final = FIRST + 7  # which classes a balanced epoch has once more; step = epoch, two words a class
BALANCE: Final = FIRST + 8  # which samples of each class it has; step = epoch, two words a sample and round
