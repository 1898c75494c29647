"""What a distribution imports of another without requiring it stays out when it is heavy, and is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from slimmer.closure.languages.python.requirements import Requirement, parse_metadata, parse_sections
from slimmer.closure.languages.python.rule import PythonRule
from slimmer.closure.languages.registry import INLINE
from slimmer.closure.model import Application, Level, Rule
from slimmer.closure.profiles.load import parse
from slimmer.closure.profiles.modules import known_modules
from slimmer.closure.recorded import IncludeRule, RecordedRule
from slimmer.closure.worklist import Closure, grow
from slimmer.packages.index import index
from slimmer.report.remedies import with_remedy
from slimmer.root.directory import DirectoryRoot
from tests.support import plant
from tests.support_elf import NEEDED, SONAME, elf
from tests.unit.profiles_support import Deb, debian
from tracer.recording import Access, Kind, Recording, collect

Tree = Mapping[str, str | bytes | None]
SITE = "/opt/v/lib/python3.11/site-packages"
PYTHON: dict[str, str | bytes | None] = {
    "/usr/bin/python3.11": "#755 \x7fELF",
    "/usr/lib/python3.11/os.py": "",
    "/opt/v/pyvenv.cfg": "home = /usr/bin",
    "/opt/v/bin/python3.11": "-> /usr/bin/python3.11",
}
LIMIT = 1000
HEAVY = "x = 1\n" * LIMIT
OTHER = "import os\n"


def wheel(name: str, files: Mapping[str, str], *requires: str, more: str = "") -> dict[str, str | bytes | None]:
    """An installed wheel: files relative to the site directory, Requires-Dist lines."""
    info = f"{name}-1.dist-info"
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    texts = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{lines}\n{more}"}
    record = "".join(f"{path},,\n" for path in texts)
    return {**{f"{SITE}/{path}": text for path, text in texts.items()}, f"{SITE}/{info}/RECORD": record}


def grown(
    tmp: Path,
    tree: Tree,
    *read: str,
    limit: int = LIMIT,
    include: tuple[str, ...] = (),
    argv: tuple[str, ...] = (),
    desktop: str = "[]",
) -> Closure:
    table = f'[modules]\nlanguage = "python"\noptional_limit = {limit}\ndesktop = {desktop}\n'
    table += 'builders = ["tools", "builder"]\nbuild_scripts = ["setup.py"]\n'
    profile = parse(f'why = "x"\n{table}', "python", "python.toml")
    root = DirectoryRoot(str(plant(tmp, {**PYTHON, **tree})))
    seen = ["/opt/v/bin/python3.11", "/opt/v/pyvenv.cfg", *read]
    recording = Recording(
        collect([Access(path, frozenset({Kind.READ}), frozenset()) for path in seen]), architecture="x86_64"
    )
    rules: list[Rule] = [RecordedRule(), IncludeRule(include), PythonRule(INLINE, (profile,))]
    return grow(root, recording, index(root), Application(argv=argv), rules, highest=Level.REACHABLE)


FRAME = {"frame/__init__.py": "", "frame/gis.py": "try:\n    import heavy\nexcept ImportError:\n    heavy = None\n"}
BARE: dict[str, str | bytes | None] = {
    "/app/main.py": "import frame\n",
    **wheel("frame", FRAME),
    **wheel("heavy", {"heavy/__init__.py": "import below\n" + HEAVY}, "below"),
    **wheel("below", {"below.py": ""}),
}


def test_a_heavy_distribution_that_nothing_requires_stays_out_and_the_warning_says_how_to_keep_it(
    tmp_path: Path,
) -> None:
    found = grown(tmp_path / "a", BARE, "/app/main.py")
    assert f"{SITE}/frame/gis.py" in found.paths
    assert not [path for path in found.paths if "heavy" in path or "below" in path]
    (warning,) = [each for each in found.warnings if each.kind == "optional-import"]
    assert f"heavy is imported by {SITE}/frame/gis.py line 2" in warning.text
    size = re.search(r"would bring ([\d,]+) bytes", warning.text)
    assert size is not None
    assert len(HEAVY) < int(size[1].replace(",", "")) < len(HEAVY) + 500  # with the metadata
    assert with_remedy(warning).remedy == f"--include {SITE}/heavy/__init__.py"
    again = grown(tmp_path / "b", BARE, "/app/main.py", include=(f"{SITE}/heavy/__init__.py",))
    assert {f"{SITE}/heavy/__init__.py", f"{SITE}/below.py", f"{SITE}/heavy-1.dist-info/METADATA"} <= {*again.paths}


@pytest.mark.parametrize(
    ("why", "more", "read"),
    [
        ("small", {f"{SITE}/heavy/__init__.py": OTHER}, ()),
        ("the run read it", {}, (f"{SITE}/heavy/__init__.py",)),
        ("the application imports it", {"/app/main.py": "import frame\ndef late():\n    import heavy\n"}, ()),
        ("required", wheel("frame", FRAME, "heavy>=1; python_version > '3'"), ()),
        ("required by another", wheel("frame", FRAME, "middle") | wheel("middle", {"middle.py": ""}, "Heavy[x]"), ()),
        (
            "of an extra that is asked for",
            wheel("frame", FRAME, "a[b-c]") | wheel("a", {}, "heavy; extra == 'B_C'"),
            (),
        ),
        ("of an extra of what the application imports", wheel("frame", FRAME, "heavy ; extra == 'gis'"), ()),
        (
            "imported as it is loaded by what the application names",
            {
                "/app/main.py": "STORAGE = 'frame.store'\n",
                **wheel(
                    "frame", {**FRAME, "frame/store.py": "from . import back\n", "frame/back.py": "import heavy\n"}
                ),
            },
            (),
        ),
        ("no metadata says what it requires", {f"{SITE}/frame-1.dist-info/{name}": None for name in ("METADATA",)}, ()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_certain_or_small_stays(tmp_path: Path, why: str, more: Tree, read: tuple[str, ...]) -> None:
    tree = {**BARE, **more}
    if why.startswith("no metadata"):
        tree = {path: text for path, text in tree.items() if "frame-1" not in path}
    found = grown(tmp_path, tree, "/app/main.py", *read)
    assert f"{SITE}/heavy/__init__.py" in found.paths
    assert not [each for each in found.warnings if each.kind == "optional-import" and each.path not in found.paths]


def test_an_extra_of_what_only_others_import_is_nobodys_wish(tmp_path: Path) -> None:
    late = "def draw():\n    import heavy\n"
    tree = {
        **BARE,
        **wheel("frame", {**FRAME, "frame/__init__.py": "import shelf\n"}, "shelf"),
        **wheel("shelf", {"shelf.py": late}, "heavy; extra == 'x'"),
    }
    found = grown(tmp_path, tree, "/app/main.py")
    assert f"{SITE}/shelf.py" in found.paths
    assert f"{SITE}/heavy/__init__.py" not in found.paths


def test_the_order_of_visits_does_not_matter(tmp_path: Path) -> None:
    """The one that requires comes after the one that only tries."""
    tree = {**BARE, "/app/late.py": "import zoo\n", **wheel("zoo", {"zoo.py": ""}, "heavy")}
    first = grown(tmp_path / "a", tree, "/app/main.py", "/app/late.py")
    second = grown(tmp_path / "b", tree, "/app/late.py", "/app/main.py")
    assert {*first.paths} == {*second.paths}
    assert f"{SITE}/below.py" in first.paths


def test_a_module_at_once_imported_by_one_that_nothing_names_waits_too(tmp_path: Path) -> None:
    tree = {**BARE, **wheel("frame", {"frame/__init__.py": "", "frame/gis.py": "import heavy\n"})}
    assert f"{SITE}/heavy/__init__.py" not in grown(tmp_path, tree, "/app/main.py").paths


def test_the_distribution_that_is_run_is_the_application(tmp_path: Path) -> None:
    tree = {
        **BARE,
        "/opt/v/bin/frame": "#755 #!/opt/v/bin/python3.11\nimport frame\n",
        f"{SITE}/frame-1.dist-info/RECORD": "".join(f"{path},,\n" for path in (*FRAME, "../../../bin/frame")),
    }
    argv = ("/opt/v/bin/frame",)
    assert f"{SITE}/heavy/__init__.py" in grown(tmp_path, tree, "/opt/v/bin/frame", argv=argv).paths


def test_without_a_limit_all_is_followed(tmp_path: Path) -> None:
    assert f"{SITE}/heavy/__init__.py" in grown(tmp_path, BARE, "/app/main.py", limit=0).paths


def test_the_libraries_that_a_distribution_brings_count(tmp_path: Path) -> None:
    tree = {
        **BARE,
        **wheel("heavy", {"heavy/__init__.py": "", "heavy/fast.so": ""}),
        f"{SITE}/heavy/fast.so": elf((NEEDED, "libbig.so.1")),
        "/lib/ld-musl-x86_64.so.1": elf(),
        "/usr/lib/libbig.so.1": elf((SONAME, "libbig.so.1")) + bytes(2 * LIMIT),
    }
    assert f"{SITE}/heavy/__init__.py" not in grown(tmp_path, tree, "/app/main.py").paths


def test_what_debian_packages_depend_on_or_recommend_stays(tmp_path: Path) -> None:
    site = "/usr/lib/python3/dist-packages"

    def deb(name: str, files: Mapping[str, str], **fields: str) -> Deb:
        found: dict[str, str | bytes | None] = {f"{site}/{path}": text for path, text in files.items()}
        found[f"{site}/{name}-1.egg-info"] = f"Metadata-Version: 1\nName: {name}\nVersion: 1\n"
        return Deb(found, fields)

    for depends, recommends, kept in (
        ("python3-middle", "", True),
        ("libc6", "", False),
        ("libc6", "python3-heavy", True),
    ):
        packages = {
            "python3-frame": deb("frame", FRAME, Depends=depends, **({"Recommends": recommends} if recommends else {})),
            "python3-middle": Deb({}, {"Depends": "python3-heavy (>= 1)"}),
            "python3-heavy": deb("heavy", {"heavy/__init__.py": HEAVY}),
        }
        debian(tmp_path / f"{depends}-{recommends}", packages)
        found = grown(
            tmp_path / f"{depends}-{recommends}",
            {"/app/main.py": "import frame\n"},
            "/usr/bin/python3.11",
            "/app/main.py",
        )
        assert (f"{site}/heavy/__init__.py" in found.paths) == kept


@pytest.mark.parametrize("section", ["", "[charts]"])
def test_what_debian_depends_on_and_the_author_gives_an_extra_for_is_optional(tmp_path: Path, section: str) -> None:
    """Debian's fonttools depends on scipy, which brings numpy; for its author that is for one of its tools."""
    site = "/usr/lib/python3/dist-packages"

    def deb(name: str, text: str, depends: str, requires: str = "") -> Deb:
        info = f"{site}/{name}-1.egg-info"
        files: dict[str, str | bytes | None] = {f"{site}/{name}/__init__.py": text, f"{info}/requires.txt": requires}
        files[f"{info}/PKG-INFO"] = f"Metadata-Version: 1\nName: {name}\nVersion: 1\n"
        return Deb(files, {"Depends": depends})

    late = "def late():\n    import heavy, numbers2\n"
    packages = {
        "python3-frame": deb("frame", late, "python3-heavy", f"{section}\nheavy\n"),
        "python3-heavy": deb("heavy", HEAVY, "python3-numbers2", "numbers2\n"),
        "python3-numbers2": deb("numbers2", HEAVY, ""),
    }
    debian(tmp_path, packages)
    found = grown(
        tmp_path, {"/app/main.py": "import other\n"}, "/usr/bin/python3.11", f"{site}/frame/__init__.py"
    ).paths
    kept = {name for name in ("heavy", "numbers2") if f"{site}/{name}/__init__.py" in found}
    assert kept == (set() if section else {"heavy", "numbers2"})


DESKTOP: dict[str, str | bytes | None] = {
    "/app/main.py": "import picture\n",
    **wheel("picture", {"picture/__init__.py": "", "picture/window.py": "import tkinter\n"}),
    "/usr/lib/python3.11/tkinter/__init__.py": "import _tkinter\n",
    "/usr/lib/python3.11/lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so": "x",
    "/usr/lib/python3.11/turtle.py": "import tkinter\n",
}
TK = "/usr/lib/python3.11/tkinter/__init__.py"


@pytest.mark.parametrize(
    ("why", "more", "stays"),
    [
        ("a library shows pictures", {}, False),
        ("the application does", {"/app/main.py": "import picture\ndef show():\n    import tkinter\n"}, True),
        ("it names the module that does", {"/app/main.py": "from picture import window\n"}, True),
        ("another module of the library", {"/app/main.py": "import picture, turtle\n"}, True),
    ],
)
def test_the_librarys_modules_for_a_screen_come_for_the_application_alone(
    tmp_path: Path, why: str, more: Tree, stays: bool
) -> None:
    found = grown(tmp_path, {**DESKTOP, **more}, "/app/main.py", desktop='["tkinter", "_tkinter"]')
    assert (TK in found.paths) == stays
    assert any("_tkinter" in path for path in found.paths) == stays
    told = [each.path for each in found.warnings if each.kind == "optional-import" and each.path not in found.paths]
    assert told == ([] if stays else [TK])


NSPKG = (  # as setuptools writes it
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(sys._getframe(1).f_locals['sitedir'],"
    " *('kits',));importlib = has_mfs and __import__('importlib.util');m = has_mfs and sys.modules.setdefault('kits',"
    " importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec('kits', [os.path.dirname(p)])))\n"
)


def test_a_namespace_that_each_start_makes_keeps_what_is_imported(tmp_path: Path) -> None:
    parts = {"kits/__init__.py": "", "kits/a/__init__.py": "", "kits/a/data.txt": "x", "kits/b/__init__.py": ""}
    plot = {"plot/__init__.py": HEAVY, **parts, "kits/b/b.py": "import plot\n", "plot-nspkg.pth": NSPKG}
    tree = {**BARE, **wheel("plot", plot)}
    each_start = (f"{SITE}/plot-nspkg.pth", f"{SITE}/kits/__init__.py")
    found = {path for path in grown(tmp_path / "a", tree, *each_start, "/app/main.py").paths if path.startswith(SITE)}
    assert {path for path in found if "/kits" in path or "plot" in path} == {f"{SITE}/kits", *each_start}
    tree["/app/main.py"] = "from kits import a\n"
    found = {path for path in grown(tmp_path / "b", tree, *each_start, "/app/main.py").paths if "/kits/" in path}
    assert {f"{SITE}/kits/a/__init__.py", f"{SITE}/kits/a/data.txt"} <= found


def test_requirements_are_read_as_installers_write_them() -> None:
    text = (
        "Name: x\nRequires-Dist: Foo_Bar (>=1) ; python_version<'4'\nrequires-dist: a.b[c, D_e]>=2 ; extra == 'F'\n"
        'Requires-Dist: g @ https://example.org/g.whl ; "h" == extra or extra == "i"\n\nRequires-Dist: not-a-header\n'
    )
    assert list(parse_metadata(text)) == [
        Requirement("foo-bar"),
        Requirement("a-b", frozenset({"c", "d-e"}), frozenset({"f"})),
        Requirement("g", frozenset(), frozenset({"h", "i"})),
    ]
    assert list(parse_sections("one>1\n\n[:python_version < '3']\ntwo\n[x:os_name == 'posix']\nthree\n# no\n")) == [
        Requirement("one"),
        Requirement("two"),
        Requirement("three", frozenset(), frozenset({"x"})),
    ]


def test_requirements_agree_with_packaging() -> None:
    """Every distribution that runs these tests: names, extras asked for, and what no extra is needed for."""
    import importlib.metadata

    packaging = pytest.importorskip("packaging.requirements")
    from packaging.utils import canonicalize_name

    some = 0
    for each in importlib.metadata.distributions():
        lines = each.metadata.get_all("Requires-Dist") or []
        ours = list(parse_metadata("".join(f"Requires-Dist: {line}\n" for line in lines)))
        theirs = [packaging.Requirement(line) for line in lines]
        assert [found.name for found in ours] == [canonicalize_name(found.name) for found in theirs]
        assert [{*found.extras} for found in ours] == [{*map(canonicalize_name, found.extras)} for found in theirs]
        assert [bool(found.only_for) for found in ours] == ["extra" in str(found.marker or "") for found in theirs]
        some += len(lines)
    assert some > 10


def test_the_largest_limit_of_all_profiles_counts() -> None:
    tables = [
        parse(f'why = "x"\n[modules]\nlanguage = "python"\noptional_limit = {size}\n', "a", "a").modules
        for size in (5, 3)
    ]
    assert known_modules(tables, "python").optional_limit == 5


def test_what_builds_an_application_stays_only_for_a_run_that_reads_its_script(tmp_path: Path) -> None:
    tree: Tree = {
        "/app/main.py": "import os\n",
        "/app/setup.py": "import tools, used\ntools.setup()\n",
        **wheel("tools", {"tools/__init__.py": ""}),
        **wheel("used", {"used.py": ""}),
    }
    kept = grown(tmp_path / "a", tree, "/app/main.py", include=("/app/setup.py",)).paths
    assert f"{SITE}/used.py" in kept
    assert f"{SITE}/tools/__init__.py" not in kept
    assert f"{SITE}/tools/__init__.py" in grown(tmp_path / "b", tree, "/app/main.py", "/app/setup.py").paths


@pytest.mark.parametrize(
    ("main", "read", "stays"),
    [
        ("", (), False),
        ("from . import plugin\n", (), True),  # it is imported after all
        ("def late():\n    from sorter.plugin import Command\n", (), True),
        ("", (f"{SITE}/sorter/plugin.py",), True),  # the run imported it
    ],
)
def test_a_builder_stays_out_for_its_plugins_that_nobody_imports(
    tmp_path: Path, main: str, read: tuple[str, ...], stays: bool
) -> None:
    tree: Tree = {
        "/app/main.py": "import sorter\n",
        **wheel("sorter", {"sorter/__init__.py": main, "sorter/plugin.py": "import tools\n"}),
        **wheel("tools", {"tools/__init__.py": ""}),
    }
    kept = grown(tmp_path, tree, "/app/main.py", *read).paths
    assert f"{SITE}/sorter/plugin.py" in kept
    assert (f"{SITE}/tools/__init__.py" in kept) == stays


@pytest.mark.parametrize(("name", "stays"), [("other", True), ("builder", False)])
def test_a_builder_does_not_bring_what_it_builds_with(tmp_path: Path, name: str, stays: bool) -> None:
    fetch = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'tools', 'wheel'])\n"
    main = "/usr/local/lib/python3.11/dist-packages/tools/__main__.py"
    tree: Tree = {
        "/usr/bin/python3": "-> python3.11",
        "/app/main.py": f"import {name}\n",
        **wheel(name, {f"{name}/__init__.py": fetch}),
        main: "",
    }
    assert (main in grown(tmp_path, tree, "/app/main.py").paths) == stays


@pytest.mark.parametrize(("size", "whole"), [(1, True), (LIMIT + 1, False)])
def test_a_directory_that_a_package_links_to_is_a_part_of_it(tmp_path: Path, size: int, whole: bool) -> None:
    """As Debian's babel has its locales in a package of their own."""
    site, data = "/usr/lib/python3/dist-packages", "/usr/share/babel-data/locale-data"
    owned: Tree = {
        f"{site}/babel/__init__.py": "",
        f"{site}/babel/locale-data": "-> ../../../../share/babel-data/locale-data",
        f"{site}/babel/share": "-> ../../../../share",  # a place of many
    }
    located: Tree = {f"{data}/de.dat": "x" * size}
    debian(tmp_path, {"python3-babel": Deb(owned), "babel-data": Deb(located), "other": Deb({"/usr/share/o": ""})})
    found = grown(tmp_path, {"/app/main.py": "import babel\n"}, "/app/main.py", "/usr/bin/python3.11")
    assert (f"{data}/de.dat" in found.paths) is whole
    assert "/usr/share/o" not in found.paths
    assert any(data in each.text for each in found.warnings) is not whole
