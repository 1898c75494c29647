"""How many bytes a guess may add to an image. What is certain has no limit; what is dearer than this is a warning.

Measured on Debian 12: a program with the libraries that it brings beyond libc's own, in MB. busybox 2.0, jq 1.0,
tar 1.4, sqlite3 2.3, strace 2.4, ssh 3.5, perl 4.0, git 4.3, gpg 4.8, redis-cli 7.1, curl 11.4, gdb 75.5. What
packages and their families may bring is in profiles/programs.toml.
"""

from __future__ import annotations

# A text of the application's own, a variable or a configuration that looks like a command line: everyday tools, of
# which curl is the largest; no debugger or browser because of a word.
OWN_TEXT = 12_000_000
# The same in somebody else's code, where most such words are of features that the application does not use: what a
# shell script would call (sqlite3 and strace just so), no interpreter.
FOREIGN_TEXT = 2_500_000
# A library that is loaded by name, with what it needs: as a program of the application's own texts.
BRINGS = 12_000_000
# The libraries of a program that the run only looked at, as `command -v` does: twice that, as it was asked for.
LOOKED_AT = 24_000_000
# A native addon that npm itself calls optional and that the run did not load: a compiler that only builds need (swc 110
# to 150), where those that serve requests are smaller (sharp with libvips 17, esbuild 10, prisma's engines 18).
ADDON = 40_000_000
