"""Threefry-2x32 with 20 rounds and the draw of one element, on Python integers (SC'11, section 3.3)."""

from __future__ import annotations

from .containers import Ints, zeros

WORD = 1 << 32
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)


def threefry2x32(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Encrypt the two counter words under the two key words; a key is injected before round 0 and after every 4."""
    keys = (*key, 0x1BD11BDA ^ key[0] ^ key[1])
    x0 = (counter[0] + keys[0]) % WORD
    x1 = (counter[1] + keys[1]) % WORD
    for round_ in range(20):
        x0 = (x0 + x1) % WORD
        rotation = ROTATIONS[round_ % 8]
        x1 = (x1 * 2**rotation) % WORD + x1 // 2 ** (32 - rotation)
        x1 ^= x0
        if round_ % 4 == 3:
            injection = round_ // 4 + 1
            x0 = (x0 + keys[injection % 3]) % WORD
            x1 = (x1 + keys[(injection + 1) % 3] + injection) % WORD
    return x0, x1


def draw(seed: int, stream: int, step: int, index: int) -> int:
    """32-bit draw of element `index` of rounding site `stream` at training step `step`."""
    return threefry2x32((seed, stream), (step, index // 2))[index % 2]


def draw_array(seed: int, stream: int, step: int, shape: tuple[int, ...]) -> Ints:
    """Draws of all elements of a tensor in row-major order."""
    out = zeros(shape)
    flat = out.reshape(-1)
    for index in range(flat.size):
        flat[index] = draw(seed, stream, step, index)
    return out
