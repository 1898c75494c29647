"""Who owns a path: dpkg with usr-merge, diversions and two architectures; apk; wheels, eggs, node modules, gems."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.packages.index import Index, index
from slimmer.packages.model import Package, PackageType
from slimmer.root.directory import DirectoryRoot
from tests.support import plant

STATUS = """\
Package: dash
Status: install ok installed
Essential: yes
Priority: required
Architecture: amd64
Source: dash-src (0.5-9)
Version: 0.5.12-2
Depends: debianutils (>= 5.6), dpkg (>= 1.19) | cdpkg:any
Pre-Depends: libc6 (>= 2.34)
Conffiles:
 /etc/dash.rc 0123456789abcdef0123456789abcdef
 /etc/old file.rc aaaa456789abcdef0123456789abcdef obsolete
Description: shell
 one
 .
 two

Package: bash
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 5.2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libtwo
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2

Package: libtwo
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2
"""

DEBIAN: dict[str, str | bytes | None] = {
    "usr/bin/dash": "#755 ELF",
    "usr/bin/sh": "-> dash",
    "usr/bin/sh.distrib": "#755 bash",
    "bin": "-> usr/bin",
    "lib": "-> usr/lib",
    "usr/lib/amd/two.so": "x",
    "usr/lib/i386/two.so": "x",
    "usr/share/doc/libtwo/copyright": "GPL, see /usr/share/common-licenses/GPL-2.\n",
    "usr/share/doc/dash/copyright": "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
    "License: BSD-3\n text\n\nLicense: GPL-2+\n text\n",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/diversions": "/bin/sh\n/bin/sh.distrib\ndash\n",
    "var/lib/dpkg/info/dash.list": "/.\n/bin\n/bin/dash\n/bin/sh\n/usr\n/usr/share\n/usr/share/doc\n"
    "/usr/share/doc/dash\n/usr/share/doc/dash/copyright\n",
    "var/lib/dpkg/info/bash.list": "/.\n/bin\n/bin/bash\n/bin/sh\n/usr\n",
    "var/lib/dpkg/info/libtwo:amd64.list": "/.\n/lib\n/lib/amd\n/lib/amd/two.so\n/usr/share/doc/libtwo/copyright\n",
    "var/lib/dpkg/info/libtwo:i386.list": "/.\n/lib\n/lib/i386\n/lib/i386/two.so\n/usr/share/doc/libtwo/copyright\n",
}


def indexed(top: Path, tree: dict[str, str | bytes | None]) -> Index:
    return index(DirectoryRoot(str(plant(top, tree))))


def named(package: Package | None) -> str:
    return f"{package.type}:{package.name}@{package.version}" if package else ""


@pytest.fixture
def debian(tmp_path: Path) -> Index:
    return indexed(tmp_path, DEBIAN)


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/usr/bin/dash", "deb:dash@0.5.12-2"),  # listed as /bin/dash
        ("/usr/bin/sh", "deb:dash@0.5.12-2"),  # the diverting package keeps the name
        ("/usr/bin/sh.distrib", "deb:bash@5.2"),  # the diverted one does not
        ("/usr/lib/i386/two.so", "deb:libtwo@2"),
        ("/etc/nobody", ""),
        ("/usr", ""),  # shared
        ("/", ""),
        ("/bin", ""),
        ("/usr/share/doc/dash", "deb:dash@0.5.12-2"),
    ],
)
def test_a_canonical_path_finds_its_debian_package(debian: Index, path: str, owner: str) -> None:
    assert named(debian.owner(path)) == owner


def test_a_link_in_place_of_a_packaged_directory_is_nobodys_file(debian: Index) -> None:
    assert debian.owners_of_file("/bin") == ()
    assert [named(each) for each in debian.owners("/bin")] == ["deb:bash@5.2", "deb:dash@0.5.12-2"]


def test_packages_that_are_only_configuration_are_not_installed(debian: Index) -> None:
    names = [(each.name, each.architecture) for each in debian.packages()]
    assert names == [("bash", "amd64"), ("dash", "amd64"), ("libtwo", "amd64"), ("libtwo", "i386")]
    assert debian.packages() == debian.system_packages()


def test_two_architectures_of_a_package_keep_their_own_files(debian: Index) -> None:
    amd, i386 = (each for each in debian.packages() if each.name == "libtwo")
    assert "/usr/lib/amd/two.so" in debian.files(amd)
    assert "/usr/lib/i386/two.so" not in debian.files(amd)
    assert debian.owners("/usr/share/doc/libtwo/copyright") == [amd, i386]


def test_a_debian_package_tells_all_its_metadata(debian: Index) -> None:
    bash, dash, two, _ = debian.packages()
    assert (dash.source, dash.source_version) == ("dash-src", "0.5-9")
    assert debian.depends(dash) == ("cdpkg", "debianutils", "dpkg", "libc6")
    assert debian.conffiles(dash) == ["/etc/dash.rc", "/etc/old file.rc"]
    assert debian.essential(dash)
    assert not debian.essential(bash)
    assert debian.priority(dash) == "required"
    assert debian.copyright_files(dash) == ["/usr/share/doc/dash/copyright"]
    assert debian.license(dash) == "BSD-3 AND GPL-2+"
    assert debian.license(two) == "GPL-2"
    assert debian.license(bash) == ""


def test_a_linked_documentation_directory_leads_to_the_licence_of_another(tmp_path: Path) -> None:
    found = indexed(
        tmp_path,
        {
            "usr/share/doc/base/copyright": "see /usr/share/common-licenses/GPL-3.",
            "usr/share/doc/lib": "-> base",
            "var/lib/dpkg/status": "Package: lib\nStatus: install ok installed\nVersion: 1\n",
            "var/lib/dpkg/info/lib.list": "/usr/share/doc/lib\n",
        },
    )
    (package,) = found.packages()
    assert found.copyright_files(package) == ["/usr/share/doc/base/copyright", "/usr/share/doc/lib"]
    assert found.license(package) == "GPL-3"


def test_distroless_stanzas_are_packages_with_the_files_of_their_sums(tmp_path: Path) -> None:
    found = indexed(
        tmp_path,
        {
            "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
            "var/lib/dpkg/status.d/tzdata.md5sums": "0123  usr/share/zoneinfo/UTC\n4567  ./usr/share/zoneinfo/CET\n",
            "usr/share/zoneinfo/UTC": "x",
        },
    )
    assert named(found.owner("/usr/share/zoneinfo/UTC")) == "deb:tzdata@2024a"
    assert named(found.owner("/usr/share/zoneinfo/CET")) == "deb:tzdata@2024a"


def test_an_alpine_database_gives_files_directories_licence_and_origin(tmp_path: Path) -> None:
    installed = (
        "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1x=\n\n"
        "P:ssl_client\nV:1.36-r1\nA:x86_64\nL:GPL-2.0-only\no:busybox\nD:so:libc.musl-x86_64.so.1 foo>=1.2 bar~3\n"
        "F:usr\nF:usr/bin\nR:ssl_client\n\n"
    )
    found = indexed(
        tmp_path, {"lib/apk/db/installed": installed, "usr/bin/ssl_client": "x", "lib/ld-musl-x86_64.so.1": "x"}
    )
    client = found.owner("/usr/bin/ssl_client")
    assert client == Package(PackageType.APK, "ssl_client", "1.36-r1", "x86_64", "busybox", "1.36-r1", "GPL-2.0-only")
    assert found.depends(client) == ["bar", "foo", "so:libc.musl-x86_64.so.1"]
    assert named(found.owner("/lib/ld-musl-x86_64.so.1")) == "apk:musl@1.2.5-r0"
    assert found.files(client) == ["/usr", "/usr/bin", "/usr/bin/ssl_client"]


SITE = "opt/venv/lib/python3.11/site-packages"
PYTHON: dict[str, str | bytes | None] = {
    f"{SITE}/requests/__init__.py": "x",
    f"{SITE}/requests/__pycache__/__init__.cpython-311.pyc": "x",
    f"{SITE}/requests-2.31.dist-info/METADATA": "Metadata-Version: 2.1\nName: requests\nVersion: 2.31\n"
    "License: Apache-2.0\nRequires-Dist: idna<4,>=2.5\nRequires-Dist: urllib3 ; extra == 'x'\n\nName: body\n",
    f"{SITE}/requests-2.31.dist-info/licenses/LICENSE": "x",
    f"{SITE}/requests-2.31.dist-info/RECORD": "requests/__init__.py,sha256=x,1\n"
    'requests-2.31.dist-info/RECORD,,\n../../../bin/req,,\n"requests/odd,name.py",,\n',
    "opt/venv/bin/req": "#755 x",
    "opt/venv/bin/other": "#755 x",
    f"{SITE}/old.py": "x",
    f"{SITE}/old-1.0.egg-info/PKG-INFO": "Name: old\nVersion: 1.0\n"
    "Classifier: License :: OSI Approved :: MIT License\n",
    f"{SITE}/old-1.0.egg-info/top_level.txt": "old\n",
    f"{SITE}/lone-3-py3.egg-info": "Name: lone\nVersion: 3\n",
    f"{SITE}/broken.dist-info/METADATA": "",
    f"{SITE}/stray.py": "x",
}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"/{SITE}/requests/__init__.py", "pypi:requests@2.31"),
        (f"/{SITE}/requests/__pycache__/__init__.cpython-311.pyc", "pypi:requests@2.31"),
        (f"/{SITE}/requests", "pypi:requests@2.31"),
        (f"/{SITE}/requests-2.31.dist-info/licenses/LICENSE", "pypi:requests@2.31"),
        ("/opt/venv/bin/req", "pypi:requests@2.31"),  # outside the site directory, by RECORD
        ("/opt/venv/bin/other", ""),
        (f"/{SITE}/old.py", "pypi:old@1.0"),  # no list of files: its top_level.txt
        (f"/{SITE}/lone-3-py3.egg-info", "pypi:lone@3"),
        (f"/{SITE}/stray.py", ""),
        (f"/{SITE}", ""),
    ],
)
def test_a_path_near_a_site_directory_finds_its_distribution(tmp_path: Path, path: str, owner: str) -> None:
    assert named(indexed(tmp_path, PYTHON).owner(path)) == owner


def test_a_wheel_tells_its_files_licence_needs_and_metadata(tmp_path: Path) -> None:
    found = indexed(tmp_path, PYTHON)
    lone, old, requests = found.packages()
    assert [each.name for each in (lone, old, requests)] == ["lone", "old", "requests"]
    assert (found.license(requests), found.license(old)) == ("Apache-2.0", "MIT License")
    assert found.depends(requests) == ["idna", "urllib3"]
    info = f"/{SITE}/requests-2.31.dist-info"
    assert found.metadata_files(requests) == [f"{info}/METADATA", f"{info}/RECORD"]
    assert found.copyright_files(requests) == [f"{info}/licenses/LICENSE"]
    assert found.files(requests) == [
        "/opt/venv/bin/req",
        f"/{SITE}/requests",
        info,
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/licenses",
        f"{info}/licenses/LICENSE",
        f"/{SITE}/requests/__init__.py",
        f"/{SITE}/requests/__pycache__/__init__.cpython-311.pyc",
    ]


NODE: dict[str, str | bytes | None] = {
    "app/package.json": '{"name": "shop", "version": "1.0.0", "dependencies": {"express": "^4"}}',
    "app/server.js": "x",
    "app/node_modules/.package-lock.json": "{}",
    "app/node_modules/express/package.json": '{"name": "express", "version": "4.18.2", "license": "MIT"}',
    "app/node_modules/express/lib/index.js": "x",
    "app/node_modules/express/lib/package.json": '{"type": "commonjs"}',
    "app/node_modules/express/LICENSE": "x",
    "app/node_modules/express/node_modules/ms/package.json": '{"name": "ms", "version": "2.0.0"}',
    "app/node_modules/express/node_modules/ms/index.js": "x",
    "app/node_modules/@scope/util/package.json": '{"name": "@scope/util", "version": "1.2", "license": {"type": "X"}}',
    "app/node_modules/broken/package.json": "{",
    "package.json": '{"name": "top", "version": "9"}',
    "etc/passwd": "x",
}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/app/server.js", "npm:shop@1.0.0"),
        ("/app/node_modules/express/lib/index.js", "npm:express@4.18.2"),
        ("/app/node_modules/express/lib/package.json", "npm:express@4.18.2"),  # has no name: no package
        ("/app/node_modules/express/node_modules/ms/index.js", "npm:ms@2.0.0"),
        ("/app/node_modules/express", "npm:express@4.18.2"),
        ("/app/node_modules/@scope/util/package.json", "npm:@scope/util@1.2"),
        ("/app/node_modules", ""),
        ("/app/node_modules/.package-lock.json", ""),
        ("/app/node_modules/broken/package.json", ""),
        ("/package.json", "npm:top@9"),
        ("/etc/passwd", ""),  # an application at the top does not hold the whole system
    ],
)
def test_a_path_finds_the_innermost_node_package(tmp_path: Path, path: str, owner: str) -> None:
    assert named(indexed(tmp_path, NODE).owner(path)) == owner


def test_a_node_package_holds_all_below_it_but_the_packages_inside(tmp_path: Path) -> None:
    found = indexed(tmp_path, NODE)
    express = next(each for each in found.packages() if each.name == "express")
    top = "/app/node_modules/express"
    assert found.files(express) == [
        top,
        f"{top}/LICENSE",
        f"{top}/lib",
        f"{top}/lib/index.js",
        f"{top}/lib/package.json",
        f"{top}/package.json",
    ]
    assert found.copyright_files(express) == [f"{top}/LICENSE"]
    assert {named(each) for each in found.packages()} == {
        "npm:shop@1.0.0",
        "npm:express@4.18.2",
        "npm:ms@2.0.0",
        "npm:@scope/util@1.2",
        "npm:top@9",
    }


def test_gems_are_found_by_their_specifications(tmp_path: Path) -> None:
    home = "usr/lib/ruby/gems/3.1.0"
    found = indexed(
        tmp_path,
        {
            f"{home}/specifications/rake-13.0.gemspec": 's.name = "rake".freeze\n  s.version = "13.0"\n'
            '  s.licenses = ["MIT".freeze]\n  s.add_runtime_dependency(%q<json>.freeze, [">= 0"])\n',
            f"{home}/specifications/default/json-2.6.gemspec": 's.name = "json"\ns.version = "2.6"\n',
            f"{home}/gems/rake-13.0/lib/rake.rb": "x",
            f"{home}/gems/rake-13.0/MIT-LICENSE": "x",
            f"{home}/gems/rake-13.0/LICENSE.txt": "x",
        },
    )
    rake = found.owner(f"/{home}/gems/rake-13.0/lib/rake.rb")
    assert named(rake) == "gem:rake@13.0"
    assert rake is not None
    assert (found.license(rake), found.depends(rake)) == ("MIT", ["json"])
    assert named(found.owner(f"/{home}/specifications/default/json-2.6.gemspec")) == "gem:json@2.6"
    assert found.copyright_files(rake) == [f"/{home}/gems/rake-13.0/LICENSE.txt"]


def test_a_deb_that_ships_a_distribution_owns_its_files_before_the_distribution(tmp_path: Path) -> None:
    site = "usr/lib/python3/dist-packages"
    found = indexed(
        tmp_path,
        {
            f"{site}/six.py": "x",
            f"{site}/six-1.16.0.egg-info/PKG-INFO": "Name: six\nVersion: 1.16.0\n",
            f"{site}/six-1.16.0.egg-info/top_level.txt": "six\n",
            "var/lib/dpkg/status": "Package: python3-six\nStatus: install ok installed\nVersion: 1.16.0-4\n",
            "var/lib/dpkg/info/python3-six.list": f"/.\n/usr\n/{site}\n/{site}/six.py\n",
        },
    )
    assert named(found.owner(f"/{site}/six.py")) == "deb:python3-six@1.16.0-4"
    assert [named(each) for each in found.owners(f"/{site}/six.py")] == ["deb:python3-six@1.16.0-4", "pypi:six@1.16.0"]


def test_an_empty_root_has_no_packages(tmp_path: Path) -> None:
    found = indexed(tmp_path, {"etc/x": "x"})
    assert found.packages() == []
    assert found.owner("/etc/x") is None
