"""A small fat image for whole runs: the small root and an application, in an OCI layout with a full configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.running import small_root
from tests.support import plant
from tests.unit.imagemaker import LayoutMaker

APPLICATION = """#755 #!/bin/sh
. /srv/app/settings
echo "$greeting $WHO in $(pwd) as $(id -u)"
cat parts/*
"""

FILES = {
    "/srv/app/run.sh": APPLICATION,
    "/srv/app/settings": "greeting=hello\n",
    "/srv/app/parts/a": "one\n",
    "/srv/app/parts/b": "two\n",
    "/srv/state": None,
    "/srv/unused/big": "x" * 200_000,
}

CONFIG: Mapping[str, Any] = {
    "Entrypoint": ["/srv/app/run.sh"],
    "Env": ["PATH=/usr/bin:/bin", "WHO=world", "EMPTY="],
    "User": "www",
    "WorkingDir": "/srv/app",
    "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
    "Volumes": {"/srv/state": {}},
    "Labels": {"maintainer": "somebody", "a": "b"},
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "/bin/cat", "/srv/app/settings"], "Interval": 30000000000, "Retries": 2},
    "OnBuild": ["RUN true"],
}


def fat_root(place: Path) -> Path:
    """The root directory of the image."""
    top = small_root(place)
    plant(top, FILES)
    return top


def tar_of(root: Path) -> bytes:
    """A layer of a tree, the same for the same tree."""
    command = ["tar", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "-cf", "-", "-C", str(root), "."]
    return subprocess.run(command, check=True, capture_output=True).stdout


def fat_image(place: Path, root: Path, config: Mapping[str, Any] = CONFIG, **options: Any) -> Path:
    """An OCI layout with the image, tagged app."""
    LayoutMaker(place).image([tar_of(root)], tag="app", config={"config": dict(config)}, compress=True, **options)
    return place
