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
from fxptrain.export.ring import decode
from fxptrain.export.source import read_source
from fxptrain.recipe import make_recipe
from fxptrain.run.evaluation import write_run
from fxptrain.sizes import MAX_FILE_BYTES, read_limited

MAGIC = b"FXPS"
HALF_ROUND = 1 << 31


def newest(net: Network, mark: int, data: bytes) -> bytes:
    """The newest whole state in a file, which may be a dump of memory with two slots.

    Raises
    ------
    CheckpointError
        If there is none; the message is about the first that begins.
    """
    found: bytes | None = None
    first: CheckpointError | None = None
    at = data.find(MAGIC)
    while at >= 0:
        try:
            one = state.whole(net, mark, data[at:])
            if found is None or 0 < (state.number_of(one) - state.number_of(found)) % (2 * HALF_ROUND) < HALF_ROUND:
                found = one
        except CheckpointError as error:
            first = first or error
        at = data.find(MAGIC, at + 1)
    if found is None:
        raise first or CheckpointError(f"There is no saved state in {len(data)} bytes: none begins with FXPS.")
    return found


def read_back(
    directory: str | Path, file: str | Path, out: str | Path, ring: str | Path | None = None
) -> dict[str, Any]:
    """Make a run of the state that a board saved.

    Parameters
    ----------
    directory : path
        The export, with ``--training``, that the board was built from.
    file : path
        Bytes of ``fxp_state_save``, ``fxp_state_write`` or a dump of the memory of ``fxp_state_keep``.
    out : path
        Run directory to make.
    ring : path, optional
        Bytes of ``fxp_adapt_write``; without them the run has the ring that the export began with, if it has one.

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
    state.load(net, mark, newest(net, mark, data))
    model = net.model  # which trains what the board did
    recipe = make_recipe(run.recipe.table() | {"model": model.spec})
    told = f"read back from {Path(file).name}"
    kept = net.ring
    if ring is not None:
        if kept is None:
            raise CheckpointError(f"The export in {directory} adapts with no ring (`--replay`), so a board has none.")
        saved = read_limited(Path(ring), MAX_FILE_BYTES, CheckpointError, str(ring))
        kept = decode(model, kept, mark, saved)
    path = write_run(out, recipe, model, {"classes": list(run.classes)}, told, kept)
    facts = {"recipe": recipe.name, "run": str(path), "step": model.step}
    return facts | {"weights_sha256": model.weights_sha256()}
