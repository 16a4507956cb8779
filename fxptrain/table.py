"""Tables of text, for whatever is shown in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; numbers to the right.

    Examples
    --------
    >>> print(table(["name", "n"], [["a", "1,000"], ["bb", "2"]]))
    name      n
    a     1,000
    bb        2
    """
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [bool(rows) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (heads, *rows)
    )


def _is_number(cell: str) -> bool:
    return cell.strip("-%,.0123456789") == ""
