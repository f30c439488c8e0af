"""File systems that are not of this machine: locks and SQLite's write-ahead log cannot be trusted on them.

What belongs here: finding out. What does not: what follows from it.
"""

import re
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_AFAR = re.compile(r"nfs|cifs|smb|afs|ceph|glusterfs|lustre|beegfs|9p|fuse\.(sshfs|s3fs|rclone|gcsfuse|blobfuse.*)")


def warning(path: Path) -> str | None:
    """A sentence when a folder lies on a network file system; None when it does not, or nobody can tell."""
    try:
        table = _TABLE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    kind = file_system(path, table)
    if kind is None or not _AFAR.match(kind):
        return None
    return (
        f"{path} lies on a network file system ({kind}), where locks and SQLite's databases cannot be "
        f"trusted: keep MLOPS_ASSETS_HOME on a disk of this machine, and share the store on S3 or by a remote."
    )


def file_system(path: Path, table: str) -> str | None:
    """The type of the file system under a path, by the text of ``/proc/self/mountinfo``; the deepest mount counts."""
    found: tuple[int, str] | None = None
    wanted = path.resolve()
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if not after:
            continue
        # spaces and the like are written as octal numbers
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4]))
        if (wanted == point or point in wanted.parents) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), after.split(" ")[0]
    return found[1] if found else None
