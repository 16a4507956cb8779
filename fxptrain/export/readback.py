"""``fxptrain readback``: what a board learned, as a run to evaluate, to predict with, to export again.

What does not belong here: the bytes of a state (`state`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxptrain.errors import CheckpointError
from fxptrain.export import state
from fxptrain.export.c99 import network_of
from fxptrain.export.layers import Network
from fxptrain.export.ring import behind, decode, number_of
from fxptrain.export.source import read_source
from fxptrain.nn.replay import Ring
from fxptrain.recipe import make_recipe
from fxptrain.run.evaluation import write_run
from fxptrain.sizes import MAX_FILE_BYTES, read_limited

MAGIC = b"FXPS"
HALF_ROUND = 1 << 31


def newest(net: Network, mark: int, data: bytes) -> tuple[bytes, Ring | None]:
    """The newest whole state in a file, which may be a dump of memory with two slots, and the ring kept with it.

    Where any state has its ring behind it, as ``fxp_adapt_keep`` writes both, one that has none does not count: on the
    board it would not, either.

    Raises
    ------
    CheckpointError
        If there is none; the message is about the first that begins.
    """
    found: tuple[bytes, Ring | None] | None = None
    first: CheckpointError | None = None
    at = data.find(MAGIC)
    while at >= 0:
        try:
            one = state.whole(net, mark, data[at:])
            ring = _kept_with(net, mark, one, data[at + behind(len(one)) :])
            if found is None or _is_newer(one, ring, found):
                found = one, ring
        except CheckpointError as error:
            first = first or error
        at = data.find(MAGIC, at + 1)
    if found is None:
        raise first or CheckpointError(f"There is no saved state in {len(data)} bytes: none begins with FXPS.")
    return found


def _kept_with(net: Network, mark: int, one: bytes, data: bytes) -> Ring | None:
    """The ring that begins `data`, if it is that of a state."""
    if net.ring is None:
        return None
    try:
        ring = decode(net.model, net.ring, mark, data)
    except CheckpointError:
        return None
    return ring if number_of(data) == state.number_of(one) else None


def _is_newer(one: bytes, ring: Ring | None, than: tuple[bytes, Ring | None]) -> bool:
    if (ring is None) != (than[1] is None):
        return ring is not None
    return 0 < (state.number_of(one) - state.number_of(than[0])) % (2 * HALF_ROUND) < HALF_ROUND


def read_back(
    directory: str | Path, file: str | Path, out: str | Path, ring: str | Path | None = None
) -> dict[str, Any]:
    """Make a run of the state that a board saved.

    Parameters
    ----------
    directory : path
        The export, with ``--training``, that the board was built from.
    file : path
        Bytes of ``fxp_state_save``, ``fxp_state_write`` or a dump of the memory of ``fxp_state_keep`` or
        ``fxp_adapt_keep``; the latter has the ring, too.
    out : path
        Run directory to make.
    ring : path, optional
        Bytes of ``fxp_adapt_write``, which go before what a dump has. Without either the run has the ring that the
        export began with, if it has one.

    Returns
    -------
    dict
        ``recipe``, ``run``, ``step`` and ``weights_sha256``.

    Raises
    ------
    FxptrainError
        If the export does not train, the bytes are no state of it, or the directory holds a run already.
    """
    run, options = read_source(Path(directory))
    if not options.training:
        raise CheckpointError(f"The export in {directory} does not train, so a board has no state of it to save.")
    data = read_limited(Path(file), MAX_FILE_BYTES, CheckpointError, str(file))
    net = network_of(run, options)
    mark = state.fingerprint(net)
    learned, kept = newest(net, mark, data)
    state.load(net, mark, learned)
    model = net.model  # which trains what the board did
    recipe = make_recipe(run.recipe.table() | {"model": model.spec})
    told = f"read back from {Path(file).name}"
    kept = kept or net.ring
    if ring is not None:
        if net.ring is None:
            raise CheckpointError(f"The export in {directory} adapts with no ring (`--replay`), so a board has none.")
        saved = read_limited(Path(ring), MAX_FILE_BYTES, CheckpointError, str(ring))
        kept = decode(model, net.ring, mark, saved)
    path = write_run(out, recipe, model, {"classes": list(run.classes)}, told, kept)
    facts = {"recipe": recipe.name, "run": str(path), "step": model.step}
    return facts | {"weights_sha256": model.weights_sha256()}
