"""What may be wrong with lines: delimiters, quotes, line ends, headers."""

from collections.abc import Iterator

from mlops_assets_tests.stages.build import column, source
from mlops_assets_tests.stages.corpus.account import BATCH_REFUSED, FILE_REFUSED, PARTLY, TAKEN, WARNED, Case
from mlops_assets_tests.stages.corpus.make import (
    ALL,
    HEADER,
    NAMES,
    ONE,
    ROWS,
    TWO,
    cell,
    delivery,
    put,
    replacing,
    table_with,
)


def _delimiters() -> Iterator[Case]:
    for sign, word in ((";", '";"'), ("\t", "tab"), ("|", '"|"')):
        yield delivery(
            "delimiter",
            f"{sign!r} instead of ','",
            FILE_REFUSED,
            (0, 0, 0),
            f"set format: {{delimiter: {word}}}",
            change=replacing(b",", sign.encode()),
        )
    piped = table_with(delimiter="|")
    yield delivery(
        "delimiter",
        "'|' as declared",
        TAKEN,
        ALL,
        body=[row.replace(",", "|") for row in ROWS],
        header=HEADER.replace(",", "|"),
        table=piped,
    )
    yield delivery(
        "delimiter",
        "one line with another delimiter",
        PARTLY,
        ONE,
        "line 7: the line has 1 field where the header has 6; ';' would split it into as many",
        body=put(5, ROWS[5].replace(",", ";")),
    )
    yield delivery(
        "delimiter",
        "one delimiter too many at a line's end",
        PARTLY,
        ONE,
        "line 7: the line has 7 fields where the header has 6; a delimiter too many stands at its end",
        body=put(5, ROWS[5] + ","),
    )
    yield delivery(
        "delimiter",
        "one too many at every row's end",
        BATCH_REFUSED,
        (0, 60, 0),
        "60 of 60 rows",
        body=[row + "," for row in ROWS],
    )
    yield delivery(
        "delimiter",
        "a column without a name",
        WARNED,
        ALL,
        "The contract does not know",
        body=[row + "," for row in ROWS],
        header=HEADER + ",",
    )
    yield delivery(
        "delimiter",
        "two columns without a name",
        FILE_REFUSED,
        (0, 0, 0),
        "2 columns have no name (fields 7, 8)",
        body=[row + ",," for row in ROWS],
        header=HEADER + ",,",
    )


def _quotes() -> Iterator[Case]:
    yield delivery(
        "quote", "delimiters, quotes and line ends inside quotes", TAKEN, ALL, body=cell(3, note='"a, ""b"" and\nc"')
    )
    yield delivery(
        "quote", "every field quoted", TAKEN, ALL, body=['"' + row.replace(",", '","') + '"' for row in ROWS]
    )
    yield delivery(
        "quote",
        "an unclosed quote",
        PARTLY,
        ONE,
        "line 5: a quote is opened and not closed",
        body=cell(3, note='"note 3'),
    )
    yield delivery(
        "quote",
        "two stray quotes, rows between",
        BATCH_REFUSED,
        (54, 6, 0),
        "a quoted field runs over 6 lines that look like rows; a quote may be missing",
        body=[*ROWS[:3], ROWS[3].replace("note", '"note'), *ROWS[4:8], ROWS[8] + '"', *ROWS[9:]],
    )
    yield delivery(
        "quote",
        "two stray quotes in neighbouring rows",
        PARTLY,
        TWO,
        "runs over 2 lines that look like rows",
        body=[
            *ROWS[:3],
            ROWS[3].replace(",note 3", ',"note 3'),
            ROWS[4]
            .replace("0004", '0004"', 1)
            .replace('0004",2024-01-05,south,4.25,0,note 4', '0004,2024-01-05,south,4.25,0,note 4"'),
            *ROWS[5:],
        ],
    )
    yield delivery(
        "quote",
        "text behind a closing quote",
        PARTLY,
        ONE,
        "line 5: something stands between a closing quote and the next delimiter",
        body=cell(3, id='"008"x'),
    )
    yield delivery(
        "quote",
        "a quote inside a field",
        PARTLY,
        ONE,
        "line 5: a quote stands inside a field that does not begin with one",
        body=cell(3, note='5" pipe'),
    )
    yield delivery(
        "quote", "quotes as letters, as declared", TAKEN, ALL, body=cell(3, note='5" pipe'), table=table_with(quote="")
    )
    yield delivery(
        "quote",
        "quotes escaped by backslashes",
        PARTLY,
        ONE,
        "line 5: something stands between a closing quote",
        body=cell(3, note='"a \\"b\\" c"'),
    )
    rowlike = cell(3, note='"as in\n0099,2024-01-01,north,1,1,x\nand so on"')
    yield delivery(
        "quote",
        "a field with lines that look like rows",
        PARTLY,
        (59, 3, 0),
        "runs over 3 lines that look like rows",
        body=[*rowlike[:3], *rowlike[3].split("\n"), *rowlike[4:]],
    )
    yield delivery("quote", "the same, multiline: true", TAKEN, ALL, body=rowlike, table=table_with(multiline=True))
    over = cell(3, note='"two\nlines"')
    yield delivery(
        "quote",
        "a line end in a field, multiline: false",
        PARTLY,
        (59, 2, 0),
        "line 5: a quote is opened and not closed",
        body=[*over[:3], *over[3].split("\n"), *over[4:]],
        table=table_with(multiline=False),
    )
    yield delivery(
        "quote",
        "a header with an open quote",
        FILE_REFUSED,
        (0, 0, 0),
        "line 1: the header cannot be read: a quote is opened and not closed",
        header='id,"' + HEADER[3:],
    )
    yield delivery(
        "quote",
        "a field of two million letters",
        PARTLY,
        ONE,
        "line 5: a field is longer than 1,000,000 characters",
        body=cell(3, note="x" * 2_000_000),
    )
    yield delivery(
        "quote",
        "the same between quotes",
        PARTLY,
        ONE,
        "line 5: a field is longer than 1,000,000 characters",
        body=cell(3, note='"' + "x" * 2_000_000 + '"'),
    )


def _lines() -> Iterator[Case]:
    yield delivery(
        "line",
        "a row with too few fields",
        PARTLY,
        ONE,
        "line 5: the line has 3 fields where the header has 6",
        body=put(3, "0003,2024-01-04,north"),
    )
    yield delivery(
        "line",
        "a row with too many fields",
        PARTLY,
        ONE,
        "line 5: the line has 8 fields where the header has 6",
        body=put(3, ROWS[3] + ",a,b"),
    )
    yield delivery(
        "line",
        "cut off in the middle of a record",
        BATCH_REFUSED,
        (59, 1, 0),
        "line 61: the last record is cut off. Deliver the whole file.",
        body=[*ROWS[:-1], "0059,2024-0"],
        last=False,
    )
    yield delivery(
        "line",
        "cut off inside a quoted field",
        BATCH_REFUSED,
        (59, 1, 0),
        "line 61: the last record is cut off",
        body=[*ROWS[:-1], '0059,2024-01-04,west,1,1,"no'],
        last=False,
    )
    yield delivery(
        "line",
        "cut off inside the last field",
        WARNED,
        ALL,
        "ends without a line end: the end may be missing",
        body=[*ROWS[:-1], "0059,2024-01-04,west,59.25,3,no"],
        last=False,
    )
    yield delivery(
        "line",
        "the same, final_newline: required",
        FILE_REFUSED,
        (0, 0, 0),
        "line 61: the last line has no line end",
        "data/shop/dataset.yaml:7 requires one",
        body=[*ROWS[:-1], "0059,2024-01-04,west,59.25,3,no"],
        last=False,
        table=table_with(final_newline="required"),
    )
    yield delivery(
        "line",
        "a lost line end",
        PARTLY,
        (58, 1, 0),
        "line 5: the line has 11 fields",
        body=put(3, ROWS[3] + ROWS[4], instead=2),
    )
    yield delivery(
        "line",
        "a line end in the middle of a row",
        PARTLY,
        (59, 2, 0),
        "line 5: the line has 3 fields",
        "line 6: the line has 4 fields",
        body=put(3, "0003,2024-01-04,no", "rth,3.25,3,note 3"),
    )
    yield delivery(
        "line",
        "a carriage return inside a field",
        PARTLY,
        ONE,
        "line 5: the line holds a carriage return where no line ends",
        body=cell(3, note="no\rte"),
    )
    yield delivery(
        "line",
        "a CRLF that lost its LF",
        PARTLY,
        (58, 1, 0),
        "line 5: the line holds a carriage return",
        body=put(3, ROWS[3] + "\r" + ROWS[4], instead=2),
        end="\r\n",
    )
    yield delivery("line", "lines that end in CR", TAKEN, ALL, end="\r")
    yield delivery("line", "lines that end in CRLF", TAKEN, ALL, end="\r\n")
    yield delivery("line", "lines that end in CRCRLF", TAKEN, ALL, end="\r\r\n")
    yield delivery(
        "line", "some lines end in CRLF", TAKEN, ALL, body=ROWS, change=lambda data: data.replace(b"5\n", b"5\r\n")
    )
    yield delivery("line", "blank lines", TAKEN, ALL, body=[*ROWS[:3], "", "", *ROWS[3:], ""])
    yield delivery(
        "line",
        "a line of blanks",
        PARTLY,
        (60, 1, 0),
        "line 5: the line has 1 field",
        body=[*ROWS[:3], "   ", *ROWS[3:]],
    )
    yield delivery(
        "line",
        "a line of delimiters",
        PARTLY,
        (60, 1, 0),
        "line 5: id: has no value; day: has no value",
        body=[*ROWS[:3], ",,,,,", *ROWS[3:]],
    )
    yield delivery(
        "line",
        "the end-of-file sign of DOS",
        BATCH_REFUSED,
        (60, 1, 0),
        "line 62: the last record is cut off",
        body=[*ROWS, "\x1a"],
        last=False,
    )
    yield delivery("line", "nothing at all", FILE_REFUSED, (0, 0, 0), "is empty (0 bytes)", change=lambda _: b"")
    yield delivery(
        "line", "blank lines only", FILE_REFUSED, (0, 0, 0), "is empty (3 bytes, all blank)", change=lambda _: b"\n\n\n"
    )
    yield delivery("line", "a header and no row", BATCH_REFUSED, (0, 0, 0), "No row of the batch was accepted", body=[])


def _headers() -> Iterator[Case]:
    yield delivery(
        "header",
        "a second header between the rows",
        PARTLY,
        (60, 1, 0),
        "line 32: the line repeats the header",
        body=[*ROWS[:30], HEADER, *ROWS[30:]],
    )
    yield delivery(
        "header",
        "two files put together, the second with a mark",
        PARTLY,
        (60, 1, 0),
        "line 32: the line repeats the header",
        body=[*ROWS[:30], "\ufeff" + HEADER, *ROWS[30:]],
    )
    texts = source(column("a", "string"), column("b", "string"), key=("a",))
    yield delivery(
        "header",
        "a second header where every column is text",
        PARTLY,
        (30, 1, 0),
        "line 12: the line repeats the header",
        header="a,b",
        body=[*(f"x{n},y" for n in range(10)), '"a","b"', *(f"z{n},y" for n in range(20))],
        table=texts,
    )
    yield delivery(
        "header",
        "no header",
        FILE_REFUSED,
        (0, 0, 0),
        "Is its first line a header?",
        header=ROWS[0],
        body=ROWS[1:],
        never=("0000", "note 0"),
    )
    yield delivery(
        "header",
        "a comment above the header",
        FILE_REFUSED,
        (0, 0, 0),
        "the column names stand on line 2",
        "set format: {header: 2}",
        above=["# exported today"],
    )
    yield delivery("header", "the same, header: 2", TAKEN, ALL, above=["# exported today"], table=table_with(header=2))
    yield delivery(
        "header", "a blank first line", FILE_REFUSED, (0, 0, 0), "the column names stand on line 2", above=[""]
    )
    yield delivery(
        "header",
        "a missing column",
        FILE_REFUSED,
        (0, 0, 0),
        "the column 'price' of source sales is missing; did you mean 'prize'?",
        header=HEADER.replace("price", "prize"),
    )
    yield delivery(
        "header",
        "a column twice",
        FILE_REFUSED,
        (0, 0, 0),
        "the column 'price' stands 2 times (fields 4, 7)",
        header=HEADER + ",price",
        body=[row + ",1" for row in ROWS],
    )
    yield delivery(
        "header",
        "columns in another order",
        TAKEN,
        ALL,
        header=",".join(reversed(NAMES)),
        body=[",".join(reversed(row.split(","))) for row in ROWS],
    )
    yield delivery(
        "header",
        "a column nobody declared",
        WARNED,
        ALL,
        "The contract does not know colour",
        header=HEADER + ",colour",
        body=[row + ",red" for row in ROWS],
    )


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _delimiters()
    yield from _quotes()
    yield from _lines()
    yield from _headers()
