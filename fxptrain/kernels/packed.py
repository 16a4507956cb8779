"""Updates of parameters and momenta that are packed bit by bit (`bits`): unpacked and packed again block by block."""

from __future__ import annotations

from fxptrain._jit import kernel, native
from fxptrain.kernels.bits import pack_run, read, unpack_run, write
from fxptrain.kernels.limbs import without
from fxptrain.kernels.update import NOTHING, merged, regridded, update_block
from fxptrain.kernels.update_site import BLOCK


@native
def _load(values, first, count, bits, line):
    """Some values of a flat array, plain (0 bits) or packed, to `line`."""
    if bits == 0:
        line[:count] = values[first : first + count]
    else:
        unpack_run(values, 0, first, count, bits, True, line, 0)


@native
def _store(values, first, count, bits, line):
    """The reverse of `_load`."""
    if bits == 0:
        values[first : first + count] = line[:count]
    else:
        pack_run(line, 0, count, bits, values, 0, first)


@native
def update_packed(site, weights, weight_bits, momentum, momentum_bits, runs, gradient, draws, lines):
    """`update.update` for arrays of these bits (0: plain); signed `lines` (2, BLOCK) are scratch, too."""
    result, exact = NOTHING, without(gradient, site.taken)
    for run in range(runs.number):
        start, source, count = runs.start + run * runs.skip, run * runs.length, runs.length
        for block in range(0, count, BLOCK):
            here, base, at = min(BLOCK, count - block), start + block, source + block
            some_weights, some_momentum = lines[0, :here], lines[1, :here]
            _load(weights, base, here, weight_bits, some_weights)
            _load(momentum, base, here, momentum_bits, some_momentum)
            found = update_block(some_weights, some_momentum, exact[at : at + here], base, None, site, draws)
            result = merged(result, found)
            _store(weights, base, here, weight_bits, some_weights)
            _store(momentum, base, here, momentum_bits, some_momentum)
    return result


@kernel
def regrid_packed(values, count, bits, shift, low, high, stochastic, seed, stream, step):
    """`update.regrid` for `count` values of so many bits (0: plain)."""
    for i in range(count):
        value = regridded(read(values, i, bits), i, shift, low, high, stochastic, seed, stream, step)
        write(values, i, bits, value)
