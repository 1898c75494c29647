"""The applications that the documents' commands are about.

Most pages are about busybox's web server in an image with more than it needs; the pages of one kind of application
are about real ones of Debian's packages.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fixtures.roots import RootUnavailable
from tests.producers import archive, busybox
from tests.reach import APPLICATIONS, fat_root, installed
from tests.support import root_of
from tests.unit.imagemaker import Item, digest, tar

# The place of the words is put together when it runs: nothing but a request can show it.
WORD = b"""#!/bin/sh
echo "Content-Type: text/plain"
echo
cat "$(echo /usr/share/sdrow | sed s/sdrow/words/)/$QUERY_STRING"
"""

CONFIG = {
    "Entrypoint": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/srv/www"],
    "Env": ["PATH=/bin"],
    "ExposedPorts": {"8080/tcp": {}},
    "User": "1000:1000",
}
STATUS = b"Package: words\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n"


def application_archive(place: Path) -> Path:
    """app.tar in a directory, as `docker save app:1` writes it."""
    files = {
        "bin/busybox": (busybox(), 0o755),
        "etc/passwd": (b"root:x:0:0::/root:/bin/sh\nwww:x:1000:1000::/srv:/bin/sh\n", 0o644),
        "srv/www/index.html": (b"<a href='/healthz'>health</a>\n", 0o644),
        "srv/www/healthz": (b"ok\n", 0o644),
        "srv/www/cgi-bin/word": (WORD, 0o755),
        "usr/share/words/english": (b"hello\n", 0o644),
        "usr/share/words/german": (b"hallo\n" * 20_000, 0o644),
        "usr/share/doc/words/manual": (b"how to\n" * 50_000, 0o644),
        "var/lib/dpkg/status": (STATUS, 0o644),
        "var/lib/dpkg/info/words.list": (b"/usr/share/words/english\n/usr/share/words/german\n", 0o644),
    }
    folders = sorted({str(above) for name in files for above in Path(name).parents if str(above) != "."})
    items = [Item(f"{name}/", "dir", mode=0o755) for name in folders]
    items += [Item(name, content=content, mode=mode) for name, (content, mode) in files.items()]
    items += [Item(f"bin/{name}", "symlink", target="busybox") for name in ("sh", "cat", "sed", "ls", "wget")]
    layer = tar(*items)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": CONFIG,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]
    members = {"config.json": config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    archive(place, members)
    return place / "app.tar"


FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "apps"
_INITDB = "initdb -D /tmp/db -A trust >/dev/null && exec postgres -D /tmp/db -k /tmp -c listen_addresses='*'"


def django_archives(place: Path) -> None:
    """shop.tar, postgres.tar and redis.tar. Skips where no Debian root can be made."""
    shop = root_of("gunicorn", "python3-django", "python3-psycopg2", "python3-redis", overlay=FIXTURES / "django")
    start = "python3 manage.py migrate --verbosity 0 && exec gunicorn --bind 0.0.0.0:8000 shop.wsgi"
    config = {"Cmd": ["sh", "-c", start], "WorkingDir": "/app", "User": "1000", "ExposedPorts": {"8000/tcp": {}}}
    root_archive(shop, config, place / "shop.tar")
    server = root_of("postgresql")
    programs = next(server.glob("usr/lib/postgresql/*/bin")).relative_to(server)
    config = {"Cmd": ["sh", "-c", _INITDB], "User": "postgres", "Env": [f"PATH=/usr/bin:/bin:/{programs}"]}
    root_archive(server, config, place / "postgres.tar")
    config = {"Cmd": ["redis-server", "--save", "", "--bind", "0.0.0.0"]}
    root_archive(root_of("redis-server"), config, place / "redis.tar")


def php_archives(place: Path) -> None:
    """php.tar and nginx.tar. Skips where no Debian root can be made."""
    php = root_of("php-fpm", "php-mbstring", "php-sqlite3", "php-xml", overlay=FIXTURES / "php-fpm")
    program = next(php.glob("usr/sbin/php-fpm*")).relative_to(php)
    config = {"Entrypoint": [f"/{program}", "-y", "/app/pool.conf"], "ExposedPorts": {"9000/tcp": {}}}
    root_archive(php, config, place / "php.tar")
    web = root_of("nginx-light", overlay=FIXTURES / "web")
    config = {"Cmd": ["nginx", "-c", "/app/nginx.conf"], "ExposedPorts": {"8080/tcp": {}}}
    root_archive(web, config, place / "nginx.tar")


def spring_boot_archive(place: Path) -> None:
    """shop.tar. Skips where no Debian root can be made.

    The registries that the tests use carry nothing of Spring Boot itself: the archive has its form (classes and
    archives inside one archive, a launcher that reads them there), and an application of our own.
    """
    (application,) = (each for each in APPLICATIONS if each.name == "boot")
    try:
        root = fat_root(application)
    except RootUnavailable as error:
        pytest.skip(str(error))
    config = {
        "Entrypoint": ["java", "-jar", "/srv/shop/shop.jar"],
        "Cmd": ["8080"],
        "User": "1000",
        "Env": ["PATH=/usr/bin:/bin", "HOME=/tmp"],
        "ExposedPorts": {"8080/tcp": {}},
    }
    root_archive(root, config, place / "shop.tar")


def next_archive(place: Path) -> None:
    """shelf.tar. Skips where no Debian root can be made or npm is missing."""
    try:
        project = installed(FIXTURES / "next")  # npm builds what it installs: the script "prepare"
    except RootUnavailable as error:
        pytest.skip(str(error))
    config = {
        "Cmd": ["node", "node_modules/next/dist/bin/next", "start"],
        "WorkingDir": "/app",
        "User": "1000",
        "Env": ["PATH=/usr/bin:/bin", "NODE_ENV=production"],
        "ExposedPorts": {"3000/tcp": {}},
    }
    root_archive(root_of("nodejs"), config, place / "shelf.tar", project)


def root_archive(root: Path, config: Mapping[str, object], target: Path, application: Path | None = None) -> None:
    """A root as `docker save` writes an image of one layer; with `application`/app in it, which is root's."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        layer = Path(folder) / "layer.tar"
        subprocess.run(["tar", "-C", root, "--numeric-owner", "--exclude=./dev/*", "-cf", layer, "."], check=True)
        if application is not None:
            subprocess.run(["tar", "-C", application, "--owner=0", "--group=0", "-rf", layer, "./app"], check=True)
        with open(layer, "rb") as stream:
            diff_id = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        image = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        manifest = [{"Config": "config.json", "RepoTags": [f"{target.stem}:1"], "Layers": ["layer.tar"]}]
        for name, value in (("config.json", {**image, "config": config}), ("manifest.json", manifest)):
            (Path(folder) / name).write_text(json.dumps(value))
        with tarfile.open(target, "w") as written:
            for name in ("config.json", "layer.tar", "manifest.json"):
                written.add(Path(folder) / name, name)
