"""Csv files as downloads, spreadsheets and editors spoil them."""

from __future__ import annotations

import csv
import io

from hypothesis import strategies as st


@st.composite
def changed(draw: st.DrawFn, raw: bytes, header: int = 2, swaps: bool = True) -> bytes:
    """A csv file (CRLF, UTF-8) with one thing wrong; it has ``header`` rows of heads."""
    lines = raw.split(b"\r\n")
    at = draw(st.integers(0, len(lines) - 2))
    hows = ["cut", "end", "encoding", "column", "columns", "delete", *(["heads"] if swaps else [])]
    how = draw(st.sampled_from(hows))
    if how == "cut":
        lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
    elif how == "end":
        return raw[: draw(st.integers(0, len(raw)))]
    elif how == "encoding":
        return raw.decode().encode(draw(st.sampled_from(["utf-16", "cp949", "utf-8-sig"])))
    elif how == "delete":
        del lines[at]
    elif how == "heads":
        which = draw(st.integers(0, header - 1))
        heads = lines[which].split(b",")
        one, two = (draw(st.integers(0, len(heads) - 1)) for _ in range(2))
        heads[one], heads[two] = heads[two], heads[one]
        lines[which] = b",".join(heads)
    else:
        table = list(csv.reader(io.StringIO(raw.decode())))
        where = draw(st.integers(0, len(table[0])))
        more = draw(st.sampled_from(["", "happy", "3", "x" * 200_000]))
        for place, cells in enumerate(table):
            if how == "columns" or place == at:
                cells.insert(where, more)
        text = io.StringIO()
        csv.writer(text).writerows(table)
        return text.getvalue().encode()
    return b"\r\n".join(lines)
