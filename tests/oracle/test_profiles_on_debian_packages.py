"""Each profile, on the real packages it is for: what starts it, and what it then keeps that no run may have touched.

The packages are downloaded and unpacked without their dependencies, and with the
entries that dpkg would have made, so that one small root holds them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.roots import cache
from slimmer.closure.ownership.package_families import FamilyRule
from slimmer.closure.profiles.load import load_all
from slimmer.closure.profiles.rule import ProfileRule
from slimmer.closure.worklist import Closure
from tests.support import plant, requires
from tests.unit.profiles_support import closure, recorded

pytestmark = requires("apt-get", "dpkg-deb", "tar")

# fmt: off
PACKAGES = [
    "apache2", "apache2-bin", "apache2-data", "binutils-x86-64-linux-gnu", "busybox", "ca-certificates",
    "dbus-daemon", "erlang-base", "execline", "file", "fontconfig-config", "fonts-dejavu-core", "fonts-urw-base35",
    "gawk", "gcc-12", "ghostscript", "git", "gsfonts", "guile-3.0", "guile-3.0-libs", "haproxy",
    "imagemagick-6-common", "imagemagick-6.q16", "krb5-config", "krb5-user", "libaprutil1", "libc-bin", "libc6",
    "libc6-dev", "libfontconfig1", "libgcc-12-dev", "libgdk-pixbuf-2.0-0", "libglib2.0-0", "libgs-common",
    "libgs10", "libgs10-common", "libkrb5-3", "libldap-2.5-0", "libldap-common", "libmagic-mgc", "libmagic1",
    "libmagickcore-6.q16-6", "libmariadb3", "libnginx-mod-http-echo", "libodbc2", "libpam-modules",
    "libpam-runtime", "libpam0g", "libperl5.36", "libproj25", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libruby3.1", "libsasl2-2", "libsasl2-modules", "libsasl2-modules-db", "libssl3", "libtcl8.6", "libtinfo6",
    "libx11-6",
    "libx11-data", "lua-socket", "lua5.4", "mariadb-common", "mariadb-server", "mariadb-server-core", "media-types",
    "memcached", "ncurses-base", "netbase", "nginx", "nginx-common", "openjdk-17-jre-headless", "openssh-client",
    "openssh-server", "openssl", "perl-base", "perl-modules-5.36", "php8.2-cli", "php8.2-common", "postgresql-15",
    "postgresql-client-15", "postgresql-client-common", "proj-data", "python3.11-minimal", "redis-server",
    "redis-tools", "rsync", "ruby3.1", "s6", "sqlite3", "tcl8.6", "tesseract-ocr", "tesseract-ocr-eng", "tzdata",
    "unixodbc-common", "wget", "docbook-xml", "docbook-xsl", "xsltproc",
    "texlive-base", "texlive-binaries", "texlive-latex-base",
]
# fmt: on
LIB = "/usr/lib/x86_64-linux-gnu"
# What Debian's maintainer scripts, or whoever makes the root, add.
SETUP = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "/etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----\n",
    "/etc/ssl/certs/12345678.0": "-> ca-certificates.crt",
    "/etc/nsswitch.conf": "passwd: files\n",
    "/etc/php/8.2/cli/conf.d/20-ctype.ini": "extension=ctype.so\n",
    "/etc/php/8.2/cli/php.ini": "[PHP]\n",
    "/etc/pam.d/common-auth": "auth required pam_unix.so\n",
    "/run/lock": None,
    "/run/postgresql": None,
    "/run/mysqld": None,
    "/root/.ssh/authorized_keys": "ssh-ed25519 AAAA\n",
    "/root/.profile": "umask 022\n",
    "/run/sshd": None,
    "/run/service": None,
    "/run/dbus": None,
    "/run/haproxy": None,
}


@dataclass(frozen=True)
class Case:
    """What a run touches, and what the profile keeps and leaves besides."""

    executed: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


CASES = {
    "apache": Case(
        executed=("/usr/sbin/apache2",),
        kept=(
            "/run/lock",
            "/etc/apache2/mods-available/mime.load",
            "/usr/share/apache2/error/HTTP_NOT_FOUND.html.var",
            "/usr/share/apache2/icons/text.gif",
            "/var/www/html",
            "/var/cache/apache2",
            f"{LIB}/apr-util-1/apr_crypto_openssl.so",
        ),
        left=("/usr/lib/apache2/modules/mod_lua.so", "/etc/init.d/apache2"),
    ),
    "curl": Case(executed=("/usr/bin/wget",), kept=("/etc/wgetrc",)),
    "dbus": Case(executed=("/usr/bin/dbus-daemon",), kept=("/run/dbus",)),
    "erlang": Case(
        executed=("/usr/lib/erlang/erts-13.1.5/bin/erlexec",),
        kept=("/usr/lib/erlang/lib/stdlib-4.2/ebin/lists.beam", "/usr/lib/erlang/erts-13.1.5/bin/erl_child_setup"),
    ),
    "fonts": Case(
        read=(f"{LIB}/libfontconfig.so.1.12.0",),
        kept=("/etc/fonts/fonts.conf", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    ),
    "gawk": Case(executed=("/usr/bin/gawk",), kept=("/usr/share/awk/join.awk", f"{LIB}/gawk/filefuncs.so")),
    "gcc": Case(
        executed=("/usr/bin/x86_64-linux-gnu-gcc-12",),
        kept=(
            "/usr/lib/gcc/x86_64-linux-gnu/12/collect2",
            "/usr/include/stdio.h",
            f"{LIB}/crt1.o",
            "/usr/lib/gcc/x86_64-linux-gnu/12/include/stddef.h",
        ),
        left=("/usr/lib/gcc/x86_64-linux-gnu/12/libasan.a",),
    ),
    "gconv": Case(
        executed=("/usr/bin/iconv",),
        kept=(f"{LIB}/gconv/gconv-modules", f"{LIB}/gconv/SJIS.so", f"{LIB}/gconv/EBCDIC-US.so"),
    ),
    "gdk-pixbuf": Case(
        read=(f"{LIB}/libgdk_pixbuf-2.0.so.0.4200.10",),
        kept=(f"{LIB}/gdk-pixbuf-2.0/2.10.0/loaders/libpixbufloader-gif.so",),
    ),
    "ghostscript": Case(
        executed=("/usr/bin/gs",),
        kept=("/usr/share/ghostscript/10.00.0/Resource/Init/gs_init.ps", "/usr/share/color/icc/ghostscript/srgb.icc"),
    ),
    "git": Case(
        executed=("/usr/bin/git",),
        kept=(
            "/usr/lib/git-core/git-submodule",
            "/usr/lib/git-core/git-remote-http",
            "/usr/share/git-core/templates/info/exclude",
            "/usr/share/perl5/Git.pm",
            "/usr/bin/ssh",
        ),
        left=("/usr/bin/git-shell", "/usr/share/gitweb/gitweb.cgi"),
    ),
    "guile": Case(
        executed=("/usr/bin/guile-3.0",),
        kept=("/usr/share/guile/3.0/ice-9/pretty-print.scm", f"{LIB}/guile/3.0/ccache/ice-9/pretty-print.go"),
    ),
    "haproxy": Case(executed=("/usr/sbin/haproxy",), kept=("/etc/haproxy/errors/503.http", "/run/haproxy")),
    "imagemagick": Case(
        executed=("/usr/bin/convert-im6.q16",),
        read=(f"{LIB}/libMagickCore-6.Q16.so.6.0.0",),
        kept=(
            f"{LIB}/ImageMagick-6.9.11/modules-Q16/coders/gif.so",
            f"{LIB}/ImageMagick-6.9.11/modules-Q16/coders/webp.so",
            f"{LIB}/ImageMagick-6.9.11/modules-Q16/coders/webp.la",
            "/etc/ImageMagick-6/policy.xml",
            "/etc/ImageMagick-6/delegates.xml",
            "/usr/share/ImageMagick-6/english.xml",
            "/usr/share/fonts/type1/urw-base35/NimbusSans-Regular.t1",
        ),
    ),
    "java": Case(
        executed=("/usr/lib/jvm/java-17-openjdk-amd64/bin/java",),
        kept=(
            "/usr/lib/jvm/java-17-openjdk-amd64/lib/security/default.policy",
            "/etc/java-17-openjdk/security/java.security",
            "/usr/lib/jvm/java-17-openjdk-amd64/lib/libnet.so",
            "/usr/lib/jvm/java-17-openjdk-amd64/lib/tzdb.dat",
        ),
    ),
    "krb5": Case(read=(f"{LIB}/libkrb5.so.3.3",), kept=(f"{LIB}/krb5/plugins",)),
    "ldap": Case(read=(f"{LIB}/libldap-2.5.so.0.1.8",), kept=("/etc/ldap/ldap.conf",)),
    "locale": Case(read=(f"{LIB}/libc.so.6",), kept=("/usr/lib/locale/C.utf8/LC_CTYPE",)),
    "lua": Case(
        executed=("/usr/bin/lua5.4",),
        kept=("/usr/share/lua/5.4/socket/http.lua", "/usr/share/lua/5.1/socket.lua"),
        left=("/usr/share/lua/5.3/socket/http.lua", f"{LIB}/lua/5.1/socket/core.so", f"{LIB}/liblua5.2-mime.so.2.0.0"),
    ),
    "magic": Case(executed=("/usr/bin/file",), kept=("/usr/lib/file/magic.mgc", "/etc/magic")),
    "memcached": Case(executed=("/usr/bin/memcached",), kept=("/usr/share/memcached/memcached.conf.default",)),
    "mime": Case(executed=("/usr/sbin/nginx",), kept=("/etc/mime.types",)),
    "mysql": Case(
        executed=("/usr/sbin/mariadbd",),
        kept=(
            "/usr/share/mysql/english/errmsg.sys",
            "/usr/share/mysql/charsets/latin1.xml",
            "/usr/lib/mysql/plugin/auth_ed25519.so",
            "/etc/mysql/mariadb.conf.d/50-server.cnf",
            "/usr/bin/mariadb-install-db",
            "/run/mysqld",
        ),
    ),
    "nginx": Case(
        executed=("/usr/sbin/nginx",),
        kept=(
            "/etc/nginx/mime.types",
            "/etc/nginx/fastcgi_params",
            "/usr/share/nginx/html/index.html",
            "/usr/lib/nginx/modules/ngx_http_echo_module.so",
            "/var/lib/nginx",
            "/var/log/nginx",
        ),
    ),
    "nss": Case(
        read=(f"{LIB}/libc.so.6",),
        kept=("/etc/nsswitch.conf", "/etc/services", "/etc/protocols", "/etc/passwd", f"{LIB}/libnss_dns.so.2"),
    ),
    "odbc": Case(read=(f"{LIB}/libmariadb.so.3",), kept=(f"{LIB}/libmariadb3/plugin/caching_sha2_password.so",)),
    "openssh-client": Case(
        executed=("/usr/bin/ssh",), kept=("/etc/ssh/ssh_config", "/usr/lib/openssh/ssh-keysign", "/root/.ssh")
    ),
    "openssh-server": Case(
        executed=("/usr/sbin/sshd",), kept=("/root/.ssh/authorized_keys", "/root/.profile", "/run/sshd")
    ),
    "pam": Case(
        read=(f"{LIB}/libpam.so.0.85.1", f"{LIB}/security/pam_unix.so"),
        kept=("/etc/pam.d/common-auth", f"{LIB}/security/pam_deny.so", "/etc/security/limits.conf"),
        left=(f"{LIB}/security/pam_userdb.so",),
    ),
    "perl": Case(
        executed=("/usr/bin/perl",),
        kept=(f"{LIB}/perl-base/warnings.pm", f"{LIB}/perl-base/Config_heavy.pl", f"{LIB}/perl-base/auto/re/re.so"),
        left=(f"{LIB}/perl/5.36.0/auto/Encode/JP/JP.so", "/usr/share/perl/5.36.0/pod"),
    ),
    "php": Case(
        executed=("/usr/bin/php8.2",),
        kept=("/etc/php/8.2/cli/php.ini", "/etc/php/8.2/cli/conf.d/20-ctype.ini", "/usr/lib/php/20220829/ctype.so"),
    ),
    "postgres": Case(
        executed=("/usr/lib/postgresql/15/bin/postgres",),
        kept=(
            "/usr/lib/postgresql/15/lib/hstore.so",
            "/usr/lib/postgresql/15/lib/utf8_and_sjis.so",
            "/usr/lib/postgresql/15/bin/pg_ctl",
            "/usr/lib/postgresql/15/bin/psql",
            "/usr/share/postgresql/15/extension/hstore.control",
            "/usr/share/postgresql/15/timezonesets/Default",
            "/usr/share/postgresql/15/tsearch_data/german.stop",
            "/usr/share/postgresql/15/postgres.bki",
            "/run/postgresql",
        ),
        left=(
            "/usr/lib/postgresql/15/lib/llvmjit.so",
            "/usr/lib/postgresql/15/lib/bitcode",
            "/usr/share/postgresql/15/man",
        ),
    ),
    "proj": Case(
        read=(f"{LIB}/libproj.so.25",),
        kept=("/usr/share/proj/proj.db", "/usr/share/proj/proj.ini", "/usr/share/proj/CHENYX06.gsb"),
    ),
    "python": Case(
        executed=("/usr/bin/python3.11",),
        kept=("/usr/lib/python3.11/encodings/idna.py", "/usr/lib/python3.11/traceback.py"),
        left=("/usr/lib/python3.11/ctypes",),
    ),
    "redis": Case(executed=("/usr/bin/redis-check-rdb",), kept=("/etc/redis/redis.conf",)),
    "rsync": Case(executed=("/usr/bin/rsync",), kept=("/usr/bin/ssh",)),
    "ruby": Case(
        executed=("/usr/bin/ruby3.1",),
        kept=(f"{LIB}/ruby/3.1.0/enc/shift_jis.so", "/usr/lib/ruby/3.1.0/rubygems.rb"),
    ),
    "s6": Case(executed=("/usr/bin/s6-svscan",), kept=("/usr/bin/s6-supervise", "/usr/lib/execline/bin/ifelse")),
    "sasl2": Case(
        read=(f"{LIB}/libsasl2.so.2.0.25",),
        kept=(f"{LIB}/sasl2/libscram.so.2.0.25",),
        left=(f"{LIB}/sasl2/libsasldb.so.2.0.25",),
    ),
    "tar": Case(executed=("/usr/bin/tar",), kept=("/usr/bin/xz",)),
    "tcl": Case(
        executed=("/usr/bin/tclsh8.6",),
        kept=("/usr/share/tcltk/tcl8.6/init.tcl", "/usr/share/tcltk/tcl8.6/encoding/euc-jp.enc"),
    ),
    "terminfo": Case(
        read=(f"{LIB}/libtinfo.so.6.4",), kept=("/usr/lib/terminfo/x/xterm-256color", "/usr/lib/terminfo/d/dumb")
    ),
    "tesseract": Case(
        executed=("/usr/bin/tesseract",),
        kept=("/usr/share/tesseract-ocr/5/tessdata/eng.traineddata",),
    ),
    "texlive": Case(
        executed=("/usr/bin/pdftex",),
        kept=(
            "/usr/share/texlive/texmf-dist/tex/latex/base/letter.cls",
            "/usr/share/texlive/texmf-dist/fonts/type1/public/amsfonts/cm/cmr10.pfb",
            "/usr/share/texlive/texmf-dist/fonts/tfm/public/cm/cmr10.tfm",
            "/usr/bin/mktexpk",
        ),
        left=("/usr/share/texlive/texmf-dist/fonts/afm/public/amsfonts/cm/cmr10.afm",),
    ),
    "tls": Case(
        read=(f"{LIB}/libssl.so.3", f"{LIB}/libcrypto.so.3"),
        kept=(
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/ssl/certs/12345678.0",
            "/etc/ssl/openssl.cnf",
            f"{LIB}/ossl-modules/legacy.so",
            "/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt",
        ),
    ),
    "tz": Case(
        environment=("TZ",),
        kept=("/usr/share/zoneinfo/Asia/Tokyo", "/usr/share/zoneinfo/tzdata.zi"),
        left=("/usr/share/zoneinfo/right", "/usr/share/zoneinfo/posix/Asia/Tokyo"),
    ),
    "x11": Case(read=(f"{LIB}/libX11.so.6.4.0",), kept=("/usr/share/X11/locale/C/XLC_LOCALE",)),
    "xml": Case(
        executed=("/usr/bin/xsltproc",),
        kept=(
            "/usr/share/xml/docbook/stylesheet/docbook-xsl/html/docbook.xsl",
            "/usr/share/xml/docbook/stylesheet/docbook-xsl/common/de.xml",
            "/usr/share/xml/docbook/schema/dtd/4.5/docbookx.dtd",
        ),
        left=("/usr/share/doc/docbook-xsl/copyright",),
    ),
}
# Profiles that are lists for other rules, or whose packages are large or not Debian's.
ELSEWHERE = {
    *("accounts", "application", "busybox", "cgit", "colour", "configuration", "documentation", "programs", "fhs"),
    *("ffmpeg", "icu", "node", "sqlite", "words", "dnsmasq", "lighttpd", "octave", "prolog", "r", "servers", "shell"),
    *("tomcat", "workflows"),
}


@pytest.fixture(scope="module")
def top() -> Path:
    """The unpacked packages."""
    home = cache() / f"profiles-{hashlib.sha256(repr((PACKAGES, sorted(SETUP))).encode()).hexdigest()[:16]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{home}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            part = home.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            unpack(part)
            part.rename(home)
    return home / "root"


def unpack(home: Path) -> None:
    done = subprocess.run(
        ["apt-get", "download", "-q", *PACKAGES], cwd=home, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        pytest.skip(f"these packages cannot be downloaded here: {done.stderr[-600:]}")
    root = home / "root"
    plant(root, {"/bin": "-> usr/bin", "/sbin": "-> usr/sbin", "/lib": "-> usr/lib", "/lib64": "-> usr/lib64"})
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    status = []
    for package in sorted(home.glob("*.deb")):
        archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
        tar = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
        subprocess.run(tar, check=True, input=archive)
        listed = subprocess.run(["tar", "--list"], check=True, input=archive, capture_output=True).stdout.decode()
        name = package.name.partition("_")[0]
        (info / f"{name}.list").write_text("\n".join(line[1:].rstrip("/") or "/." for line in listed.split()) + "\n")
        fields = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
        status.append(fields.replace("\n", "\nStatus: install ok installed\n", 1))
        package.unlink()
    (root / "var/lib/dpkg/status").write_text("\n".join(status))
    for path, content in SETUP.items():
        if not (root / path[1:]).exists():
            plant(root, {path: content})
    for compressor in ("tar", "xz"):
        plant(root, {f"/usr/bin/{compressor}": "#755 a program of the base system"})


def grown(top: Path, case: Case, *, families: bool = False) -> Closure:
    recording = recorded(executed=case.executed, read=case.read, environment=dict.fromkeys(case.environment, "x"))
    if case.environment and not case.executed:
        recording = recorded(executed=["/usr/bin/xz"], environment=dict.fromkeys(case.environment, "x"))
    rules = [ProfileRule(load_all()), *([FamilyRule(load_all())] if families else [])]
    return closure(top, recording, rules)


def test_every_profile_is_proved_here_or_said_not_to_be() -> None:
    assert {each.name for each in load_all()} == set(CASES) | ELSEWHERE


@pytest.mark.parametrize("name", CASES)
def test_a_profile_keeps_what_its_package_needs(top: Path, name: str) -> None:
    case = CASES[name]
    assert all((top / path[1:]).exists() for path in (*case.executed, *case.read)), "the packages have changed"
    found = grown(top, case).paths
    missing = [path for path in case.kept if path not in found]
    assert missing == []
    assert [path for path in case.left if path in found] == []
    rules = {reason.rule for path in case.kept for reason in found[path].reasons}
    assert f"profile:{name}" in rules


@pytest.mark.parametrize("name", ["apache", "git", "postgres"])
def test_what_a_profile_leaves_out_its_family_does_not_bring_back(top: Path, name: str) -> None:
    found = grown(top, CASES[name], families=True).paths
    assert [path for path in CASES[name].left if path in found] == []


def test_a_plain_program_brings_none_of_this(top: Path) -> None:
    found = grown(top, Case(executed=("/usr/bin/xz",)), families=True)
    assert sum((top / path[1:]).stat().st_size for path in found.paths if (top / path[1:]).is_file()) < 50_000
