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
        Column of the labels of a table: its name, or its number from 1 where the table has no header. Of values
        several, with commas between.
    header : bool, optional
        Whether a table's first row names the columns.
    arrays : str, optional
        Arrays of an NPZ file: ``x=images,y=labels``, or with splits ``x_train=a,y_train=b,x_test=c,y_test=d``.
    groups : str, optional
        Column of a table or array that says which group a sample is of: texts or whole numbers.
    values : bool
        Whether labels are real numbers to be learned as such, one or more of each sample; else they are classes.
    flags : bool
        Whether these numbers are labels, each 1 where a sample has it, else 0.
    optional : bool
        Whether samples need no labels, and classes of one split need not occur in the others.
    """

    label: str | None = None
    header: bool | None = None
    arrays: str | None = None
    groups: str | None = None
    values: bool = False
    flags: bool = False
    optional: bool = False

    @property
    def said(self) -> list[str]:
        """The columns of the labels that are said."""
        if self.label is None:
            return []
        return [name.strip() for name in self.label.split(",")] if self.values else [self.label]
