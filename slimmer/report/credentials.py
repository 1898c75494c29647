"""Finds what looks like a secret: by a file's name, and by the content of small files. The content goes nowhere.

Patterns are the public forms of the issuers' tokens (their own secret-scanning pages).
"""

from __future__ import annotations

import re

from slimmer.errors import SlimmerError
from slimmer.root.model import Entry, Root

LIMIT = 64 << 10  # bytes: larger files are judged by name only

# Whole names that are secrets as they are, when not empty.
_NAMED = {
    ".netrc": "netrc",
    "_netrc": "netrc",
    ".pgpass": "database-password",
    ".git-credentials": "git-credentials",
    ".bash_history": "shell-history",
    ".zsh_history": "shell-history",
    ".ash_history": "shell-history",
    ".sh_history": "shell-history",
    ".history": "shell-history",
    ".python_history": "shell-history",
    ".node_repl_history": "shell-history",
    ".mysql_history": "shell-history",
    ".psql_history": "shell-history",
    ".sqlite_history": "shell-history",
    ".rediscli_history": "shell-history",
    ".irb_history": "shell-history",
    "fish_history": "shell-history",
    "ConsoleHost_history.txt": "shell-history",
    ".vault-token": "token",
    "application_default_credentials.json": "cloud-credentials",
    "accessTokens.json": "cloud-credentials",
    "credentials.db": "cloud-credentials",
    ".s3cfg": "cloud-credentials",
    ".boto": "cloud-credentials",
    "terraform.tfstate": "cloud-credentials",
}
_STORES = frozenset({"p12", "pfx", "jks", "keystore", "kdbx", "ppk"})  # suffixes

# Names whose content decides, whoever owns the file: by their suffix, or whole names that begin so.
_ASK_SUFFIXES = frozenset(
    {"pem", "key", "priv", "asc", "ppk", "env", "pypirc", "npmrc", "yarnrc", "dockercfg", "htpasswd", "ovpn"}
)
_ASK_NAME = re.compile(
    r"""(?x) ^\.env(?:\..*)?$ | ^id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?$ | ^ssh_host_[a-z0-9]+_key$ | ^g?shadow-?$
    | ^credentials(?:\.(?:json|toml|ya?ml|ini))?$ | ^secrets?\.(?:json|toml|ya?ml|ini|env|txt)$
    | ^(?:auth|config)\.json$ | ^kubeconfig$ | ^\.?my\.cnf$ | ^config$ | ^service[-_]account.*\.json$
    | ^debian\.cnf$ | ^rclone\.conf$
    """
)
_ASK_BEGIN = (
    *(".env", "id_", "ssh_host_", "shadow", "gshadow", "credentials", "secret", "auth.json", "config", "kubeconfig"),
    *("my.cnf", ".my.cnf", "service", "debian.cnf", "rclone.conf"),
)
# Suffixes that are worth a look where no package answers for the file.
_TEXT = frozenset(
    (
        *("env", "conf", "cfg", "cnf", "ini", "json", "yaml", "yml", "toml", "properties", "xml", "txt", "sh", "bash"),
        *("py", "js", "mjs", "cjs", "ts", "rb", "php", "pl", "lua", "tf", "tfvars", "pem", "key", "crt", "cert"),
        *("local", "config", "dockercfg", "npmrc", "pypirc", "credentials", "token", "secret", "gradle", "sql"),
    )
)

_KEY = (
    rb"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:(?:\\[rn]|\s){1,8}+(?:[A-Za-z-]{1,24}: (?:(?!\\[rn])[^\n]){0,120}+)?+){1,8}+[A-Za-z0-9+/=]{24}"
)
# (kind, expression, texts of which one stands in whatever it matches). Looking for a text is a hundred times quicker
# than an expression, and a million files have none; no text: the expression is asked at once.
_CONTENT: tuple[tuple[str, re.Pattern[bytes], tuple[bytes, ...]], ...] = (
    ("private-key", re.compile(_KEY), (b"PRIVATE KEY",)),
    (
        "token",
        re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{60}|\bglpat-[A-Za-z0-9_-]{20}"),
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_", b"glpat-"),
    ),
    (
        "token",
        re.compile(rb"\bxox[abeprs]-[0-9A-Za-z-]{20}|\bsk_live_[0-9a-zA-Z]{24}|\brk_live_[0-9a-zA-Z]{24}"),
        (b"xox", b"k_live_"),
    ),
    (
        "token",
        re.compile(rb"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50}|\bhvs\.[A-Za-z0-9_-]{24}"),
        (b"npm_", b"pypi-AgEIcHlwaS5vcmc", b"hvs."),
    ),
    (
        "token",
        re.compile(rb"\bAIza[0-9A-Za-z_-]{35}|\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
        (b"AIza", b"SG."),
    ),
    (
        "registry-credentials",
        re.compile(rb"_(?:authToken|password|auth)\s*=\s*[A-Za-z0-9+/=_-]{8}"),
        (b"_auth", b"_password"),
    ),
    (
        "registry-credentials",
        re.compile(rb'"(?:auth|identitytoken)"\s*:\s*"[A-Za-z0-9+/=_.-]{8}'),
        (b'"auth"', b'"identitytoken"'),
    ),
    (
        "cloud-credentials",
        re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\baws_secret_access_key\s*=\s*\S{20}"),
        (b"AKIA", b"ASIA", b"aws_secret_access_key"),
    ),
    (
        "cloud-credentials",
        re.compile(rb"\bAccountKey=[A-Za-z0-9+/=]{60}|\bclient-key-data:\s*[A-Za-z0-9+/=]{40}"),
        (b"AccountKey=", b"client-key-data:"),
    ),
    ("password-hash", re.compile(rb"^[^:\n]{1,64}:\$[0-9a-z]{1,10}\$[^:\n]{8}", re.MULTILINE), (b":$",)),
    (
        "password",
        re.compile(rb"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>{}$]{1,64}:[^\s/@'\"<>{}$*]{4,128}@[A-Za-z0-9.-]+"),
        (b"://",),
    ),
    (
        "password",
        re.compile(
            rb"(?im)^[^\S\n]*+(?:export[^\S\n]++)?[A-Z0-9_]*(?:PASSWORD|PASSWD|SECRET|SECRET_KEY|API_KEY|ACCESS_KEY|AUTH_TOKEN"
            rb"|ACCESS_TOKEN)[^\S\n]*+=[^\S\n]*+['\"]?[^\s'\"$<>{}#]{8}"
        ),
        (),
    ),
)
# Assignments of passwords mean something in files of settings, not in programs' text.
_SETTINGS = re.compile(r"\.(?:env|cnf|ini|properties|tfvars|pypirc)$|^\.env|^\.?my\.cnf$|^secrets?\.|^credentials")


def suspicious(name: str, size: int, *, owned: bool) -> bool:
    """Whether a regular file's name says that it may hold a secret: cheap, asked for every path."""
    suffix = name[name.rfind(".") + 1 :]  # all of it where there is no dot
    if name in _NAMED or (suffix in _STORES and suffix != name):
        return True
    if owned:
        return ("." in name[-5:] and _asks(name, suffix)) or name in _OWNED_NAMES
    if size > LIMIT:
        return False
    return suffix == name or suffix in _TEXT or name[0] == "." or _asks(name, suffix)


_OWNED_NAMES = frozenset({"shadow", "gshadow", "shadow-", "gshadow-"})


def _asks(name: str, suffix: str) -> bool:
    if suffix in _ASK_SUFFIXES and suffix != name:
        return True
    return name.startswith(_ASK_BEGIN) and bool(_ASK_NAME.search(name))


def telling(name: str) -> bool:
    """Whether a file's name alone says that its content is worth a look, wherever it lies."""
    return bool(named_secret(name)) or _asks(name, name[name.rfind(".") + 1 :])


def credential_variable(name: str, value: str) -> str:
    """The kind of secret in an environment variable, "" for none; references and file names are none."""
    if not value or value.startswith(("/", "$")):
        return ""
    line = f"{name}={value}".encode("utf-8", "surrogateescape")
    for kind, pattern, texts in _CONTENT:
        if kind == "password-hash" or (texts and not any(text in line for text in texts)):
            continue
        if pattern.search(line):
            return kind
    return "password" if _SECRET_NAME.search(name) and len(value) > 2 else ""


_SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:PASSWORD|PASSWD|PWD|PASSPHRASE|SECRET|API_?KEY|PRIVATE_?KEY|TOKEN)$")


def named_secret(name: str) -> str:
    """The kind of secret that a file's name alone tells, "" for none."""
    return _NAMED.get(name, "") or ("key-store" if "." in name and name[name.rfind(".") + 1 :] in _STORES else "")


def credential(root: Root, entry: Entry, *, owned: bool) -> str:
    """The kind of secret in a file, "" for none. A file that cannot be read is judged by its name only."""
    name = entry.path[entry.path.rfind("/") + 1 :]
    known = named_secret(name)
    if known:
        return known
    if entry.size > LIMIT:
        return ""
    try:
        content = root.beginning(entry, LIMIT)
    except (SlimmerError, OSError):
        return ""
    if b"\0" in content[:1024]:
        return ""
    settings = bool(_SETTINGS.search(name))
    for kind, pattern, texts in _CONTENT:
        if kind == "password-hash" and not ("shadow" in name or "htpasswd" in name):
            continue
        if kind == "password" and (owned or not settings):
            continue
        if kind == "registry-credentials" and not (name.startswith(".") or name in ("config.json", "auth.json")):
            continue
        if texts and not any(text in content for text in texts):
            continue
        if pattern.search(content):
            return kind
    return ""
