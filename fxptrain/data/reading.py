"""What the user says about a file that the file does not say itself.

What does not belong here: reading (`csv`, `npz`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a file of labelled samples; what is None is told from the file, or refused.

    Parameters
    ----------
    label : str, optional
        Column of the labels of a table: its name, or its number from 1 where the table has no header.
    header : bool, optional
        Whether a table's first row names the columns.
    arrays : str, optional
        Arrays of an NPZ file: ``x=images,y=labels``, or with splits ``x_train=a,y_train=b,x_test=c,y_test=d``.
    """

    label: str | None = None
    header: bool | None = None
    arrays: str | None = None
