"""What an image can do that nobody trained: applications on Debian's packages, and two exercises for each.

The first exercise is what `slim trace` sees; the second, `held_out`, it never sees. Both
are asked of the fat root too, and the slim image must answer as it does.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.roots import RootUnavailable, cache, debian_root
from slimmer.checks.compare import Verdict
from slimmer.checks.run import verify_image
from slimmer.exercise.expectation import expect
from slimmer.exercise.observer import Observer
from slimmer.exercise.perform import perform
from slimmer.exercise.source import open_source
from slimmer.pipeline.outputs import Outputs
from slimmer.pipeline.progress import Progress
from slimmer.pipeline.trace import Result, trace
from slimmer.recipe import Probe, Recipe, Run, Source, split_command, split_words

APPS = Path(__file__).resolve().parents[1] / "fixtures" / "apps"


@dataclass(frozen=True)
class Application:
    """A server has probes and commands inside (`asks`); a command has further command lines (`runs`)."""

    name: str
    packages: tuple[str, ...]
    run: str
    training: tuple[Probe | str, ...] = ()
    asks: tuple[Probe | str, ...] = ()
    runs: tuple[str | tuple[str, int], ...] = ()  # a command line, or one with the exit code that is right
    ready: str = ""
    user: str = ""
    workdir: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""
    npm: bool = False
    share: float = 0.30  # of the fat root's bytes, at most

    @property
    def held_out_count(self) -> int:
        return len(self.asks) + len(self.runs)


def get(url: str, pattern: str = "", status: int = 200, **more: str) -> Probe:
    return Probe(url, status, pattern=pattern, **more)  # type: ignore[arg-type]


def post(url: str, body: str, pattern: str, kind: str = "application/x-www-form-urlencoded") -> Probe:
    return Probe(url, 200, "POST", {"Content-Type": kind}, body, pattern)


NGINX, FLASK, EXPRESS, RUBY, PHP, APACHE = (f"http://127.0.0.1:{port}" for port in (8081, 8082, 8083, 8084, 8085, 8086))
JAVA, BOOT, TOMCAT = "http://127.0.0.1:8095", "http://127.0.0.1:8096", "http://127.0.0.1:8080"
PG = "/usr/lib/postgresql/15/bin"
SQL = "psql -h /tmp -U postgres -At -c"
SSH = "-i /root/.ssh/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/tmp/hosts"
FTP = "ftp://127.0.0.1:8092"

APPLICATIONS = (
    Application(
        "nginx",
        ("nginx-light",),
        "/usr/sbin/nginx -c /app/nginx.conf -g 'daemon off;'",
        training=(get(f"{NGINX}/", "Served"),),
        asks=(
            get(f"{NGINX}/css/main.css"),
            get(f"{NGINX}/nowhere", status=404),
            get(f"{NGINX}/who", "127"),
            get(f"{NGINX}/css", status=301),
            Probe(f"{NGINX}/", 206, headers={"Range": "bytes=1-2"}, pattern="h1"),
            "/usr/sbin/nginx -t -c /app/nginx.conf",
        ),
        share=0.15,
    ),
    Application(
        "redis",
        ("redis-server",),
        "/usr/bin/redis-server /app/redis.conf",
        training=("redis-cli -p 6380 ping",),
        asks=(
            "redis-cli -p 6380 set key value",
            "redis-cli -p 6380 save",
            "redis-cli -p 6380 eval 'return cjson.encode({redis.call(\"get\", KEYS[1])})' 1 key",
            "redis-cli -p 6380 xadd log 1-1 a b",
            "redis-cli -p 6380 bgsave",
            "redis-cli -p 6380 --scan --pattern k*",
            Probe("tcp://127.0.0.1:6380", body="PING\\r\\n", pattern="PONG"),
        ),
        ready="6380",
        user="redis",
        workdir="/var/lib/redis",
        share=0.15,
    ),
    Application(
        "bash",
        ("bash",),
        "/app/words.sh /app/text.txt",
        runs=("/app/words.sh /app/text.txt pack", "/app/words.sh /app/text.txt list", ("/app/words.sh /none", 1)),
        share=0.15,
    ),
    Application(
        "express",
        ("nodejs",),
        "/usr/bin/node /app/server.js",
        training=(get(f"{EXPRESS}/", "ready"),),
        asks=(
            get(f"{EXPRESS}/table", "<td>bob</td><td>5</td>"),
            post(f"{EXPRESS}/echo", "a[b]=c&d=e", '"a":{"b":"c"}'),
            get(f"{EXPRESS}/sign", "^[0-9a-f]{16}$"),
            get(f"{EXPRESS}/money", "234,50"),
            get(f"{EXPRESS}/worker", "6765"),
            get(f"{EXPRESS}/module", "LATE!"),
            get(f"{EXPRESS}/files/site.css", "teal"),
            get(f"{EXPRESS}/throw", "as planned", 500),
            get(f"{EXPRESS}/none", "Cannot GET", 404),
        ),
        user="nobody",
        workdir="/app",
        npm=True,
        share=0.40,  # libnode and ICU's data, which the interpreter reads as it starts, are a third of this root
    ),
    Application(
        "flask",
        ("python3-flask", "gunicorn", "python3-requests"),
        "/usr/bin/gunicorn -b 127.0.0.1:8082 -w 2 app:app",
        training=(get(f"{FLASK}/", "hello"),),
        asks=(
            get(f"{FLASK}/greet/ada", "<b>Ada</b>"),
            get(f"{FLASK}/json", "42"),
            get(f"{FLASK}/static/site.css", "olive"),
            get(f"{FLASK}/none", "Not Found", 404),
            get(f"{FLASK}/boom", "Internal Server Error", 500),
            get(f"{FLASK}/tokyo", "09:00"),
            get(f"{FLASK}/sqlite", "7"),
            get(f"{FLASK}/tls", "True"),
            get(f"{FLASK}/codecs", "xn--mnchen-3ya"),
            post(f"{FLASK}/form", "name=ada", "ADA"),
            get(f"{FLASK}/child", "Linux"),
            get(f"{FLASK}/library", "5 0.3 b"),
            get(f"{FLASK}/plugin/alpha", "alpha"),
            get(f"{FLASK}/requests", "%C3%A9"),
        ),
        user="www-data",
        workdir="/app",
    ),
    Application(
        "postgres",
        ("postgresql-15",),
        f"{PG}/postgres -D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf "
        "-c unix_socket_directories=/tmp -c listen_addresses=",
        training=(f"{SQL} 'select 1'",),
        asks=(
            f"{SQL} \"select timestamptz '2024-01-01 00:00+00' at time zone 'Asia/Tokyo'\"",
            f"{SQL} 'create extension hstore'",
            f"{SQL} \"create extension pgcrypto; select encode(digest('x', 'sha256'), 'hex')\"",
            f"{SQL} \"do $$ begin raise notice 'hi'; end $$\"",
            f"{SQL} \"select to_tsvector('german', 'die Katzen liefen')\"",
            f"{SQL} \"select convert_from(convert_to('abc', 'EUC_JP'), 'EUC_JP')\"",
            f"{SQL} 'create database other'",
            f"{SQL} 'create table t as select generate_series(1, 9) a' -c 'vacuum analyze t' -c 'select sum(a) from t'",
            f"{SQL} \"select xpath('/a/text()', '<a>b</a>')\"",
            f"{SQL} \"select 'a' < 'B' collate \\\"de-x-icu\\\"\"",
            f'{SQL} "select jit_provider from pg_settings, (values (1)) v(jit_provider) limit 1"',
            "pg_dump -h /tmp -U postgres -s other",
            f"{SQL} checkpoint",
        ),
        ready="/ready to accept connections/",
        user="postgres",
        workdir="/var/lib/postgresql",
        setup="echo 'local all all trust' > /etc/postgresql/15/main/pg_hba.conf",
        share=0.32,  # a fresh database and ICU's data are half of it
    ),
    Application(
        "perl",
        ("perl", "libjson-perl"),
        "/app/shop.pl count /app/sales.txt",
        runs=(
            *(
                f"/app/shop.pl {job} /app/sales.txt"
                for job in ("json", "digest", "names", "dates", "encode", "dump", "total", "gzip", "socket", "shell")
            ),
            ("/app/shop.pl other /app/sales.txt", 2),
        ),
    ),
    Application(
        "ruby",
        ("ruby", "ruby-webrick"),
        "/usr/bin/ruby /app/server.rb",
        training=(get(f"{RUBY}/", "ready"),),
        asks=(
            get(f"{RUBY}/erb", "<i>3</i>"),
            get(f"{RUBY}/json", "null"),
            get(f"{RUBY}/digest", "2d711642b726b044"),
            get(f"{RUBY}/time", "29 Feb 2024"),
            get(f"{RUBY}/yaml", "- 2"),
            get(f"{RUBY}/encoding", "233"),
            get(f"{RUBY}/library", "y"),
            get(f"{RUBY}/none", status=404),
            get(f"{RUBY}/boom", "as planned", 500),
        ),
        user="nobody",
        workdir="/app",
    ),
    Application(
        "php",
        ("php-cli", "php-mbstring", "php-sqlite3", "php-xml"),
        "/usr/bin/php -S 127.0.0.1:8085 -t /app/web",
        training=(get(f"{PHP}/", "ready"),),
        asks=(
            get(f"{PHP}/include.php", "Good day, ada"),
            get(f"{PHP}/text.php", "É yes"),
            get(f"{PHP}/sqlite.php", "7"),
            get(f"{PHP}/xml.php", "b"),
            get(f"{PHP}/date.php", "09:00"),
            get(f"{PHP}/hash.php", "2d711642b726b044"),
            get(f"{PHP}/none.txt", status=404),
        ),
        user="www-data",
        workdir="/app",
    ),
    Application(
        "apache",
        ("apache2",),
        "/usr/sbin/apache2 -D FOREGROUND",
        training=(get(f"{APACHE}/", "It works"),),
        asks=(
            get(f"{APACHE}/sub/site.css", "h1"),
            get(f"{APACHE}/none", "not here", 404),
            get(f"{APACHE}/sub/list/", "one.txt"),
            get(f"{APACHE}/icons/text.gif", "GIF"),
            get(f"{APACHE}/old", status=302),
            get(f"{APACHE}/env.cgi", "Linux"),
            Probe(f"{APACHE}/sub/site.css", 206, headers={"Range": "bytes=0-1"}, pattern="h1"),
            get(f"{APACHE}/sub", status=301),
        ),
        env={
            "APACHE_RUN_USER": "www-data",
            "APACHE_RUN_GROUP": "www-data",
            "APACHE_PID_FILE": "/tmp/apache2.pid",
            "APACHE_RUN_DIR": "/tmp",
            "APACHE_LOCK_DIR": "/tmp",
            "APACHE_LOG_DIR": "/var/log/apache2",
        },
        setup=r"""
sed -i 's/Listen 80/Listen 127.0.0.1:8086/' /etc/apache2/ports.conf
sed -i 's/\*:80>/*:8086>/' /etc/apache2/sites-enabled/000-default.conf
a2enmod rewrite headers cgi >/dev/null
cd /var/www/html
mkdir -p sub/list
echo one > sub/list/one.txt
echo 'h1 {}' > sub/site.css
echo 'not here' > missing.html
printf 'RewriteEngine On\nRewriteRule ^old$ /sub/site.css [R=302]\n' > .htaccess
printf '#!/bin/sh\necho Content-Type: text/plain\necho\nuname -s\n' > env.cgi
chmod 755 env.cgi
printf '%s\n' '<Directory /var/www/html>' 'Options Indexes FollowSymLinks ExecCGI' 'AllowOverride All' \
    'AddHandler cgi-script .cgi' '</Directory>' \
    'ErrorDocument 404 /missing.html' 'ScriptSock /tmp/cgisock' > /etc/apache2/conf-enabled/own.conf
""",
    ),
    Application(
        "sshd",
        ("openssh-server", "openssh-client"),
        "/bin/sh -c 'mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -p 8091'",
        training=(f"ssh -p 8091 {SSH} 127.0.0.1 true",),
        asks=(
            f"ssh -p 8091 {SSH} -l ann 127.0.0.1 'echo ~; pwd'",
            f"ssh -p 8091 {SSH} -tt 127.0.0.1 'echo $TERM'",
            f"ssh -p 8091 {SSH} -o Ciphers=aes128-ctr -o KexAlgorithms=diffie-hellman-group14-sha256 127.0.0.1 :",
            f"scp -P 8091 {SSH} ann@127.0.0.1:/etc/passwd /tmp/copy",
            f"sh -c 'echo pwd | sftp -P 8091 {SSH} -b - ann@127.0.0.1'",
            "sshd -T",
        ),
        ready="8091",
        setup="""
useradd -m -s /bin/bash ann
mkdir -p /root/.ssh /home/ann/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id
cp /root/.ssh/id.pub /root/.ssh/authorized_keys
cp /root/.ssh/id.pub /home/ann/.ssh/authorized_keys
chown -R ann /home/ann
""",
    ),
    Application(
        "vsftpd",
        ("vsftpd", "lftp"),
        "/bin/sh -c 'mkdir -p /run/vsftpd/empty; exec /usr/sbin/vsftpd /etc/own.conf'",
        training=(f"lftp -e 'cat a.txt; bye' {FTP}",),
        asks=(
            f"lftp -u ann,secret -e 'mkdir x; put /etc/passwd -o x/p; cls x; bye' {FTP}",
            f"lftp -e 'cat sub/b.txt; bye' {FTP}",
            Probe("tcp://127.0.0.1:8092", body="USER ann\\r\\nPASS wrong\\r\\n", pattern="530 Login incorrect"),
            Probe("tcp://127.0.0.1:8092", body="FEAT\\r\\nQUIT\\r\\n", pattern="Goodbye"),
        ),
        ready="8092",
        setup="""
useradd -m -s /bin/bash ann
echo ann:secret | chpasswd
mkdir -p /srv/ftp/sub
echo a > /srv/ftp/a.txt
echo b > /srv/ftp/sub/b.txt
printf '%s\\n' listen=YES listen_port=8092 listen_address=127.0.0.1 anonymous_enable=YES local_enable=YES \\
    write_enable=YES background=NO secure_chroot_dir=/run/vsftpd/empty pam_service_name=vsftpd > /etc/own.conf
""",
    ),
    Application(
        "git",
        ("git", "ca-certificates"),
        "/usr/bin/git --version",
        runs=(
            "git init -q /tmp/r",
            "git clone -q . /tmp/c",
            "git log --oneline --stat",
            "git grep -n one HEAD",
            "git fsck",
            "git gc -q",
            "git worktree add /tmp/w",
            "git archive --format=tar.gz HEAD",
            "git bundle create -q - HEAD",
            "git tag -a -m text one",
            "git format-patch --stdout --root HEAD",
            ("git ls-remote http://127.0.0.1:1/none", 128),
        ),
        workdir="/srv/seed.git",
        env={"HOME": "/tmp", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
        setup="""
export HOME=/tmp GIT_AUTHOR_DATE=2024-01-01T00:00:00Z GIT_COMMITTER_DATE=2024-01-01T00:00:00Z
git init -q -b main /tmp/seed
cd /tmp/seed
git config user.email ann@example.org
git config user.name Ann
echo one > one.txt
git add .
git commit -q -m first
git clone -q --bare . /srv/seed.git
git -C /srv/seed.git config user.email ann@example.org
git -C /srv/seed.git config user.name Ann
rm -r /tmp/seed
""",
    ),
    Application(
        "magick",
        ("imagemagick",),
        "/usr/bin/convert -size 10x10 xc:red png:-",
        runs=(
            *(
                f"/usr/bin/convert -size 20x20 xc:blue {kind}:-"
                for kind in ("jpg", "gif", "bmp", "webp", "tiff", "pnm")
            ),
            "/usr/bin/convert -size 20x20 gradient:red-blue -blur 0x2 -resize 5x5 ppm:-",
            "/usr/bin/convert rose: -format %wx%h info:",
            "/usr/bin/identify rose:",
        ),
    ),
    Application(
        "tcl",
        ("tcl", "tcllib"),
        "/usr/bin/tclsh /app/jobs.tcl hello",
        runs=(
            *(
                f"/usr/bin/tclsh /app/jobs.tcl {job}"
                for job in ("day", "zone", "text", "json", "digest", "web", "safe")
            ),
            ("/usr/bin/tclsh /app/jobs.tcl other", 1),
        ),
        share=0.15,
    ),
    Application(
        "java",
        ("openjdk-17-jre-headless", "derby-tools", "libhsqldb-java", "libjna-java"),
        "/app/bin/shop 8095",
        training=(get(f"{JAVA}/", "ready"),),
        asks=(
            get(f"{JAVA}/till", "Cash took 7"),
            get(f"{JAVA}/database", "PAID"),
            get(f"{JAVA}/native", "abs 5"),
            get(f"{JAVA}/words", "nichts da"),
            "/app/bin/report",
        ),
        env={"HOME": "/tmp"},
        setup="""
for name in jna hsqldb derby derbytools; do test -e /usr/share/java/$name.jar; done
java /app/src/Build.java /app/src /app/lib /usr/share/java/jna.jar
rm -r /app/src
""",
        share=0.6,
    ),
    Application(
        "boot",
        ("openjdk-17-jre-headless", "file", "bc", "xxd", "libjq1"),
        "java -jar /srv/shop/shop.jar 8096",
        training=(get(f"{BOOT}/", "ready"),),
        asks=(
            get(f"{BOOT}/tls", "true secret"),
            get(f"{BOOT}/zones", r"\+05:45 -02:30 \+12:45 \+02:00 true"),
            get(f"{BOOT}/image", r"text \d\d fonts [1-9]\d* jpeg true"),
            get(f"{BOOT}/tool", "ASCII text"),
            get(f"{BOOT}/setting", "5"),
            get(f"{BOOT}/greeting", "welcome"),
            get(f"{BOOT}/logging", "level INFO"),
            get(f"{BOOT}/management", "Linux true"),
            get(f"{BOOT}/charsets", "ü日中1"),
            get(f"{BOOT}/xslt", "sum 5"),
            get(f"{BOOT}/zip", "zipped"),
            get(f"{BOOT}/client", "welcome"),
            get(f"{BOOT}/names", r"127\.0\.0\.1"),
            get(f"{BOOT}/late", "late"),
            get(f"{BOOT}/services", "drawer took 7"),
            get(f"{BOOT}/words", "nichts da"),
            get(f"{BOOT}/money", "1,234Schweizer Franken"),
            get(f"{BOOT}/native", "loaded"),
            get(f"{BOOT}/vendor", "77656c636f6d650a"),
            get(f"{BOOT}/shell", "a,b,"),
            get(f"{BOOT}/flight", "recorded true"),
            get(f"{BOOT}/kind", "text/css image/png"),
        ),
        env={"HOME": "/tmp"},
        setup="""
mkdir /app/src/packed/org/packed/linux
cp /usr/lib/*/libjq.so.1 /app/src/packed/org/packed/linux/libpacked.so
rm /usr/lib/*/libjq.so.1*
keytool -genkeypair -keyalg EC -alias shop -dname CN=localhost -ext san=dns:localhost -validity 36500 \\
    -storepass changeit -keystore /app/src/shop/shop.p12
java /app/src/Build.java /app/src /srv/shop/shop.jar
rm -r /app
""",
        share=0.6,
    ),
    Application(
        "ant",
        ("openjdk-17-jre-headless", "ant"),
        "/usr/bin/ant -S -f /app/build.xml hello",
        runs=(
            *(f"/usr/bin/ant -S -f /app/build.xml {target}" for target in ("zip", "xslt", "script", "tar")),
            ("/usr/bin/ant -S -f /app/build.xml fail", 1),
            ("/usr/bin/ant -f /none.xml", 1),
            "/usr/bin/ant -version",
            "/usr/bin/ant -f /app/build.xml -projecthelp",
        ),
        env={"HOME": "/tmp"},
        share=0.6,
    ),
    Application(
        "tomcat",
        ("openjdk-17-jre-headless", "tomcat10"),
        "/usr/share/tomcat10/bin/catalina.sh run",
        training=(get(f"{TOMCAT}/", "It works"),),
        asks=(
            get(f"{TOMCAT}/t.jsp", "jsp 2 3"),
            get(f"{TOMCAT}/bad.jsp", "boom", 500),
            get(f"{TOMCAT}/none", status=404),
            "/usr/share/tomcat10/bin/catalina.sh version",
            "/usr/share/tomcat10/bin/catalina.sh configtest",
        ),
        ready="8080",
        env={
            "HOME": "/tmp",
            "JRE_HOME": "/usr/lib/jvm/java-17-openjdk-amd64",
            "CATALINA_BASE": "/var/lib/tomcat10",
            "CATALINA_HOME": "/usr/share/tomcat10",
        },
        share=0.6,
    ),
    Application(
        "poppler",
        ("poppler-utils", "poppler-data"),
        "/usr/bin/pdfinfo /app/page.pdf",
        runs=(
            "/usr/bin/pdftotext /app/page.pdf -",
            "/usr/bin/pdftotext -enc Shift-JIS /app/page.pdf -",
            "/usr/bin/pdftotext -listenc",
            "/usr/bin/pdffonts /app/page.pdf",
            "/usr/bin/pdftoppm -png /app/page.pdf",
            "/usr/bin/pdftocairo -svg /app/page.pdf -",
            ("/usr/bin/pdftotext /none.pdf -", 1),
        ),
    ),
)


def fat_root(application: Application) -> Path:
    """Raises RootUnavailable."""
    overlay = APPS / application.name
    if application.npm:
        overlay = installed(overlay)
    return debian_root(*application.packages, overlay=overlay if overlay.is_dir() else None, setup=application.setup)


def installed(overlay: Path) -> Path:
    """The application with its node_modules beside it, made once for each state of it. Raises RootUnavailable."""
    digest = hashlib.sha256()
    for path in sorted(each for each in overlay.rglob("*") if each.is_file()):
        digest.update(f"{path.relative_to(overlay)}\0".encode() + path.read_bytes())
    home = cache() / f"npm-{overlay.name}-{digest.hexdigest()[:16]}"
    if not home.exists():
        if shutil.which("npm") is None:
            raise RootUnavailable("npm is not installed")
        part = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=cache()))
        part.chmod(0o755)
        shutil.copytree(overlay, part, dirs_exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"],
            cwd=part / "app",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            shutil.rmtree(part)
            raise RootUnavailable(f"npm install failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        os.rename(part, home)
    return home


def recipes(application: Application, root: Path) -> tuple[Recipe, Recipe]:
    """The exercise that is shown, and the one that is held out."""
    base = Run(
        command=split_command(application.run),
        env=application.env,
        user=application.user or None,
        workdir=application.workdir,
        ready=application.ready,
    )
    shown = _with(base, application.training)
    if application.asks:
        held = [_with(base, application.asks)]
    else:
        held = []
        for line in application.runs:
            words, code = (line, 0) if isinstance(line, str) else line
            command = tuple(shlex.split(words))
            held.append(Run(command, env=base.env, user=base.user, workdir=base.workdir, expect_exit=code))
    source = Source(root=str(root))
    return Recipe(source, (shown,)), Recipe(source, tuple(held))


def _with(run: Run, asks: tuple[Probe | str, ...]) -> Run:
    from dataclasses import replace

    return replace(
        run,
        probes=tuple(each for each in asks if isinstance(each, Probe)),
        exec=tuple(split_words(each) for each in asks if isinstance(each, str)),
    )


def held_out(held: Recipe, out: Path) -> Verdict:
    """How an image answers what it was not trained on. The fat root must pass: else SlimmerError."""
    opened = open_source(held.source)
    performed = perform(opened.place, held, Observer(), record=False)
    expect(performed, held)
    return verify_image(opened, out / "image", held, Observer(), performed)


def reach(application: Application, out: Path) -> tuple[Result, Verdict]:
    """Train, then ask what was held out. Raises SlimmerError, RootUnavailable."""
    shown, held = recipes(application, fat_root(application))
    result = trace(shown, Outputs(out), Progress())
    return result, held_out(held, out)
