"""What tells two fat roots apart, so that recordings of different ones are not merged.

Not a hash of everything: the same build on another machine, or with another
release of the application, is the same root for this purpose.
"""

from __future__ import annotations

import hashlib

from slimmer.errors import SlimmerError
from slimmer.root.model import Root

TELLING = (
    "/etc/os-release",
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
)


def fingerprint(root: Root) -> str:
    """ "sha256:…" of the files that say which distribution and which packages these are."""
    digest = hashlib.sha256()
    for path in TELLING:
        try:
            content = root.read(path)
        except SlimmerError:
            continue
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return f"sha256:{digest.hexdigest()}"
