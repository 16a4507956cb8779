"""Measurements of the engine against its peers on one machine; run by `tools/bench`.

One process a library (`worker`), told by `session` what to measure, one at a time and interleaved by rounds; `figures`
turns the times into rows, `table`, `plot` and `results` show and keep them. Nothing in the package imports this.
"""
