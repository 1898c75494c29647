"""Ruby: requires through the compiled-in load path, gems whole with their dependencies, Bundler's lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.closure.languages.ruby import syntax
from slimmer.closure.languages.ruby.rule import RubyRule
from slimmer.closure.model import Application
from tests.unit.closures import kept

LIB = "/usr/lib/ruby/3.1.0"
ARCH = "/usr/lib/x86_64-linux-gnu/ruby/3.1.0"
HOME = "/var/lib/gems/3.1.0"
BASE: dict[str, str | bytes | None] = {
    "/usr/bin/ruby": b"\x7fELF\0" + LIB.encode() + b"\0" + ARCH.encode() + b"\0/usr/lib/ruby/vendor_ruby\0",
    LIB: None,
    ARCH: None,
    "/usr/lib/ruby/vendor_ruby": None,
}


def reached(tmp_path: Path, tree: dict[str, str | bytes | None], *seeds: str, **more: object) -> set[str]:
    return kept(tmp_path, {**BASE, **tree}, "/usr/bin/ruby", *seeds, rules=(RubyRule,), **more) - {*BASE}


def test_requires_of_every_kind(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.rb": (
            "require 'json'\nrequire_relative 'lib/own'\ndef late; require \"zlib\"; end\n# require 'no'\n"
            "autoload :X, 'xml/x'\nload 'conf.rb'\n"
            "require File.expand_path('../other', __FILE__)\nrequire \"drv/#{name}\"\n"
        ),
        "/app/lib/own.rb": "",
        "/app/conf.rb": "",
        "/app/other.rb": "",
        f"{LIB}/json.rb": "",
        f"{LIB}/json/ext.rb": "",
        f"{ARCH}/zlib.so": b"\x7fELF\0rb_require\0named/inside\0",
        f"{LIB}/named/inside.rb": "",
        f"{LIB}/named/beside.rb": "",
        f"{LIB}/xml/x.rb": "",
        f"{LIB}/xml/y.rb": "",
        f"{LIB}/drv/one.rb": "",
        f"{LIB}/no.rb": "",
    }
    left_out = {f"{LIB}/no.rb", f"{LIB}/xml/y.rb", f"{LIB}/named/beside.rb"}
    assert reached(tmp_path, tree, "/app/main.rb") == {*tree} - left_out


@pytest.mark.parametrize(
    "line",
    [
        "$LOAD_PATH.unshift 'own'",
        '$: << File.expand_path("../own", __FILE__)',
        '$LOAD_PATH.unshift(File.join(__dir__, "own"))',
        '$:.push("/app/own")',
    ],
)
def test_directories_that_a_source_adds_to_the_load_path_are_searched(line: str, tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/a.rb": "require 'late'\n",
        "/app/main.rb": f"require_relative 'a'\n# $: << '/app/not'\n{line}\nrequire 'part/one'\n",
        "/app/own/part/one.rb": "",
        "/app/own/late.rb": "",
        "/app/not/late.rb": "",
    }
    assert reached(tmp_path, tree, "/app/main.rb") == {*tree} - {"/app/not/late.rb"}


def test_what_ruby_loads_by_itself_stays(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        f"{ARCH}/enc/encdb.so": "",
        f"{ARCH}/enc/shift_jis.so": "",
        f"{ARCH}/rbconfig.rb": "",
        f"{LIB}/unicode_normalize/tables.rb": "",
        f"{LIB}/did_you_mean.rb": "",
        f"{LIB}/irb.rb": "",
    }
    assert reached(tmp_path, tree) == {*tree} - {f"{LIB}/irb.rb"}


def test_a_gem_stays_whole_with_its_dependencies(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.rb": "require 'web/base'\n",
        f"{HOME}/specifications/web-1.0.gemspec": 's.add_runtime_dependency(%q<rack>.freeze, ["~> 2"])',
        f"{HOME}/gems/web-1.0/lib/web/base.rb": "",
        f"{HOME}/gems/web-1.0/views/a.erb": "",
        f"{HOME}/gems/web-1.0/README.md": "",
        f"{HOME}/gems/web-1.0/spec/a_spec.rb": "",
        f"{HOME}/gems/web-1.0/ext/a.c": "",
        f"{HOME}/extensions/x86_64-linux/3.1.0/web-1.0/web/fast.so": "",
        f"{HOME}/specifications/rack-2.2.gemspec": "s.add_development_dependency(%q<dev>)",
        f"{HOME}/gems/rack-2.2/lib/rack.rb": "",
        f"{HOME}/specifications/dev-1.gemspec": "",
        f"{HOME}/gems/dev-1/lib/dev.rb": "",
    }
    out = ("README.md", "a_spec.rb", "a.c", "dev-1.gemspec", "dev.rb")
    assert reached(tmp_path, tree, "/app/main.rb") == {path for path in tree if not path.endswith(out)}


def test_bundler_wants_what_the_lock_file_names(tmp_path: Path) -> None:
    home = "/app/vendor/bundle/ruby/3.1.0"
    tree: dict[str, str | bytes | None] = {
        "/app/Gemfile": "gem 'a'",
        "/app/Gemfile.lock": "GEM\n  specs:\n    a (1.0)\n      b\n    b (2.0-x86_64-linux)\n\nPLATFORMS\n  ruby\n",
        f"{home}/specifications/a-1.0.gemspec": "",
        f"{home}/gems/a-1.0/lib/a.rb": "",
        f"{home}/specifications/b-2.0-x86_64-linux.gemspec": "",
        f"{home}/gems/b-2.0-x86_64-linux/lib/b.rb": "",
        f"{home}/specifications/a-0.9.gemspec": "",
        f"{home}/gems/a-0.9/lib/a.rb": "",
        f"{LIB}/bundler.rb": "",
        f"{LIB}/bundler/setup.rb": "",
    }
    found = reached(tmp_path, tree, "/app/Gemfile.lock", application=Application(workdir="/app"))
    assert found == {path for path in tree if "a-0.9" not in path}


def test_programs_that_the_application_starts(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/app/main.rb": (
            "system('git', 'log')\nputs `date -u '+%Y \"x\"' | sort`\nOpen3.capture2('wc', '-l')\nputs %x(id -u)\n"
        ),
        "/usr/bin/git": "#755 x",
        "/usr/bin/date": "#755 x",
        "/usr/bin/wc": "#755 x",
        "/usr/bin/id": "#755 x",
        "/usr/bin/sort": "#755 x",
        "/usr/bin/log": "#755 x",
        "/bin/sh": "#755 x",
    }
    assert reached(tmp_path, tree, "/app/main.rb") == {*tree} - {"/usr/bin/log"}


@pytest.mark.parametrize(
    "source",
    [
        "%w[csv set].each { |name| require name }\n",
        "LIBRARIES = ['csv', 'set']\nLIBRARIES.each do |each|\n  require each\nend\n",
        "(%w[csv] + %w[x]).size\n%w[csv set].each { |n| require(n) }\n",
    ],
)
def test_names_that_a_block_requires_one_by_one_are_required(source: str) -> None:
    found = syntax.scan(source.encode(), "/app/a.rb")
    assert [each.text for each in found.named] == ["csv", "set"]


def test_a_program_beside_a_command_is_not_what_the_command_requires(tmp_path: Path) -> None:
    tree: dict[str, str | bytes | None] = {
        "/usr/bin/serve": "#755 #!/usr/bin/ruby\nrequire 'openssl'\nload 'tasks'\n",
        "/usr/bin/openssl": b"\x7fELF",
        "/usr/bin/tasks": "",
        f"{LIB}/openssl.rb": "",
    }
    found = reached(tmp_path, tree, "/usr/bin/serve")
    assert found == {"/usr/bin/serve", "/usr/bin/tasks", f"{LIB}/openssl.rb"}
