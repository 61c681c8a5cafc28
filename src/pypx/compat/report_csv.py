"""Reports as CSV (RFC 4180 quoting, any separator), and as the boxed table of ``--csvPrettify``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pypx.compat.report_text import pad, width
from pypx.errors import InputError
from pypx.model.dataclass import dataclass
from pypx.model.plain import plain
from pypx.workflows.report import Row, StudyBlock

_COUNT = "NumberOfSeriesRelatedInstances"
_DESCRIPTION = "SeriesDescription"
_CENTRED = frozenset({_COUNT, _DESCRIPTION})


@dataclass(frozen=True, slots=True)
class CsvOptions:
    r"""How to write it; ``\t`` as `separator` means a tabulator."""

    separator: str = "|"
    headers: bool = False
    prettify: bool = False
    summarize: bool = False


def csv_text(blocks: Iterable[StudyBlock], options: CsvOptions | None = None) -> str:
    """One row a series (or, summarized, a study): the header values of its study, then its own.

    A study without series, such as those of ``--StudyOnly``, has a row too.  Each row ends with a newline; column names
    stand once, at the top, or once a study when prettified.

    Raises
    ------
    InputError : the separator is empty, or a quotation mark or a line end
    """
    chosen = options or CsvOptions()
    tables = [_Table.of(block, summarize=chosen.summarize) for block in blocks]
    if chosen.prettify:
        return "".join(_pretty(table, headers=chosen.headers) for table in tables)
    separator = "\t" if chosen.separator == "\\t" else chosen.separator
    if not separator or any(character in '"\r\n' for character in separator):
        raise InputError(f"--csvSeparator: {chosen.separator!r} cannot separate values")
    names = max((table.names for table in tables), key=len, default=())
    rows = [names] if chosen.headers and tables else []
    rows += [row + ("",) * (len(names) - len(row)) for table in tables for row in table.rows]
    return "".join(_line(row, separator) for row in rows)


@dataclass(frozen=True, slots=True)
class _Table:
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    header_columns: int

    @classmethod
    def of(cls, block: StudyBlock, *, summarize: bool) -> _Table:
        head = tuple(value for _, value in block.header)
        bodies = (_summary(block),) if summarize else tuple(series.csv for series in block.series) or ((),)
        names = tuple(tag for tag, _ in (*block.header, *bodies[0]))
        rows = tuple(head + tuple(value for _, value in body) for body in bodies)
        return cls(names=names, rows=rows, header_columns=len(head))


def _summary(block: StudyBlock) -> tuple[Row, ...]:
    counts = [series.instances for series in block.series]
    known = sum(count for count in counts if count is not None)
    images = f"at least {known}" if None in counts else str(known)
    return (
        (_DESCRIPTION, f"Study contains {len(block.series)} series"),
        (_COUNT, f"All series contain {images} images"),
    )


def _line(values: Iterable[str], separator: str) -> str:
    return separator.join(_quoted(value, separator) for value in values) + "\n"


def _quoted(value: str, separator: str) -> str:
    needs = separator in value or any(character in '"\r\n' for character in value) or value != value.strip()
    doubled = value.replace('"', '""')
    return f'"{doubled}"' if needs else value


def _pretty(table: _Table, *, headers: bool) -> str:
    rows = [tuple(_cells(table.names, row)) for row in table.rows]
    columns = [max(width(name), *(width(row[index]) for row in rows)) + 2 for index, name in enumerate(table.names)]
    boxes = ["─" * column for column in columns]
    lines = ["┬".join(boxes)]
    if headers:
        lines += ["│".join(_centred(name, column) for name, column in zip(table.names, columns, strict=True))]
        lines += ["┼".join(boxes)]
    for row in rows:
        cells = zip(table.names, row, columns, strict=True)
        lines.append(
            "│".join(
                _centred(value, column)
                if index < table.header_columns or name in _CENTRED
                else pad(f" {value}", column)
                for index, (name, value, column) in enumerate(cells)
            )
        )
    lines.append("┴".join(boxes))
    return "\n".join(lines) + "\n"


def _cells(names: tuple[str, ...], row: tuple[str, ...]) -> Iterator[str]:
    for name, value in zip(names, row, strict=True):
        text = plain(value)
        yield text.zfill(5) if name == _COUNT and text.isascii() and text.isdigit() else text


def _centred(text: str, columns: int) -> str:
    left = (columns - width(text)) // 2
    return pad(" " * left + text, columns)
