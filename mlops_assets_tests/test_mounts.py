"""Which file system a home lies on."""

from pathlib import Path

import pytest

from mlops_assets.mounts import file_system, warning

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /srv/data rw,relatime shared:2 - nfs4 filer:/data rw,vers=4.2
31 30 8:2 / /srv/data/local rw,relatime - xfs /dev/sdb1 rw
32 22 0:51 / /mnt/with\040space rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/anna", "ext4"),
        ("/srv/data", "nfs4"),
        ("/srv/data/project/.mlops", "nfs4"),
        ("/srv/database", "ext4"),
        ("/srv/data/local/x", "xfs"),
        ("/mnt/with space/x", "fuse.sshfs"),
    ],
)
def test_the_deepest_mount_says_it(path: str, kind: str) -> None:
    assert file_system(Path(path), TABLE) == kind


def test_a_network_file_system_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warning(tmp_path) is None
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 0:50 / {tmp_path} rw - nfs4 filer:/data rw\n")
    monkeypatch.setattr("mlops_assets.mounts._TABLE", table)
    assert "network file system (nfs4)" in str(warning(tmp_path / "home"))
    table.unlink()
    assert warning(tmp_path) is None
