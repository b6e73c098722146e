"""What kind of disk a path is on."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's table of what is mounted; see proc(5)."""

NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|virtiofs|panfs|orangefs|pvfs2|wekafs|ocfs2|gfs2"
    r"|vboxsf|vmhgfs|prl_fs"
    r"|fuse\.(?!(fuse-overlayfs|ntfs-3g|mergerfs|gocryptfs|encfs|bindfs)$).*"
)
"""Types of file systems that other machines may use at the same time.

Most that run in user space (FUSE) are of that kind, and new ones appear every year, so that those are named
which are of one machine.
"""

ESCAPE = re.compile(r"\\([0-7]{3})")


def is_on_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether other machines may use the file system of a path too; False where that cannot be seen.

    Args:
        path: of a file or folder, which need not be there.
        mounts: the table of what is mounted.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    place, longest, kind = str(path.resolve()), -1, ""
    for line in lines:
        fields, _, more = line.partition(" - ")
        point = ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # What was mounted later at the same place hides the former.
            longest, kind = len(point), more.split(" ")[0]
    return NETWORK.fullmatch(kind) is not None
