"""Sweeps over training options: grids as data, a store of finished cells, runners, tables, figures and a report.

What does not belong here: training itself (`fxptrain.run.training`) and anything that prints (`cli.experiment`).

Where what is: `grid` says which cells a sweep has, `store` remembers what became of each, `cell` runs one, `runner` and
`cluster` run many, `tables` makes numbers of them, `figures` and `page` show these.
"""
