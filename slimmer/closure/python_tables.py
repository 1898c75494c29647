"""What is known of Python beforehand: what starts with it, what computed names load, what only developers use."""

from __future__ import annotations

import enum

# Loaded by the interpreter itself, from C or before the first line of any program; and what prints an error.
STARTUP = """abc codecs io os stat posixpath genericpath _collections_abc _sitebuiltins site sitecustomize usercustomize
    encodings importlib._bootstrap importlib._bootstrap_external importlib.util importlib.machinery runpy pkgutil
    zipimport traceback linecache tokenize warnings contextlib types functools _weakrefset weakref _strptime
    locale""".split()  # noqa: SIM905
# Packages whose modules are found by computed names.
WHOLE = {"encodings": "codecs are looked up by name"}
# The standard library's tools for developers: they reach half of it and are only kept when something other
# than the standard library imports them, or the recording saw them.
DEVELOPER = frozenset(
    """antigravity bdb cProfile distutils doctest ensurepip idlelib lib2to3 pdb profile pstats pyclbr pydoc pydoc_data
    tabnanny test this tkinter trace turtle turtledemo unittest venv webbrowser xmlrpc""".split()  # noqa: SIM905
)
# Distributions for building and testing; what third-party code imports of them in a function or a `try` is not reached.
BUILDERS = frozenset(
    """setuptools pip wheel distutils Cython pytest _pytest nose hypothesis mypy sphinx IPython coverage tox twine build
    pyximport""".split()  # noqa: SIM905
)
# Modules that C code or computed names import, by the module after which they are needed.
IMPLIED = {
    "sysconfig": ("_sysconfigdata_*",),
    "_datetime": ("_strptime",),
    "datetime": ("_strptime",),
    "time": ("_strptime",),
    "pickle": ("_compat_pickle", "copyreg"),
    "ctypes": ("ctypes._endian",),
    "sqlite3": ("sqlite3.dump",),
    "asyncio": ("asyncio.unix_events", "asyncio.selector_events"),
    "zoneinfo": ("zoneinfo._common", "zoneinfo._tzpath", "importlib.resources"),
    "decimal": ("_pydecimal",),
    "xml": ("xml.etree.ElementPath",),
}
# Words of the interpreter's own messages that are also names of modules.
COMMON_WORDS = frozenset("code cmd copy select string test this time token trace types user".split())  # noqa: SIM905


class Origin(enum.Enum):
    """Whose a source is; decides how far its words are believed."""

    LIBRARY = "standard library"
    SITE = "third party"
    APPLICATION = "application"


# What a source's optional imports do not reach.
UNREACHED = {Origin.LIBRARY: DEVELOPER, Origin.SITE: BUILDERS, Origin.APPLICATION: frozenset[str]()}
