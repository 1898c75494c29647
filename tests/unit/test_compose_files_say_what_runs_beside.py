"""A compose file in, a recipe out: the application's run, and its services in the order in which they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.compose import read
from slimmer.errors import UsageProblem
from slimmer.recipe import Run, parse
from slimmer.service import Service, service

FILE = """
x-common: &common
  environment: &env {DATABASE_URL: "postgres://app:${DB_PASSWORD:-secret}@db/app", DEBUG: false, EMPTY:}
services:
  unrelated: {image: "registry.example/other"}
  cache:
    image: redis:${REDIS_TAG-7}
    command: redis-server --save ''
    networks: {default: {aliases: [sessions]}}
  db:
    image: docker-archive:/images/pg.tar
    user: postgres
    environment: [POSTGRES_PASSWORD=s$$ecret, FROM_CALLER]
    env_file: [{path: db.env, required: false}]
    healthcheck: {test: [CMD-SHELL, "pg_isready -U app"]}
    volumes: ["data:/var/lib/postgresql/data", "./init:/docker-entrypoint-initdb.d:ro"]
  migrate:
    image: example/web
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *common
    image: example/web
    entrypoint: [/entry.sh]
    command: gunicorn app:app
    working_dir: /srv
    depends_on:
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started}
    volumes: [{type: bind, source: ./static, target: /srv/static}]
volumes: {data:}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "compose.yaml"
    place.write_text(FILE)
    return place


def test_the_application_and_all_that_it_depends_on(file: Path) -> None:
    here = file.parent
    found = read(file, "web", {"DB_PASSWORD": "given"})
    assert found.source.image == "docker://example/web"
    assert found.runs == (Run(env={"DATABASE_URL": "postgres://app:given@db/app", "DEBUG": "false"}, workdir="/srv"),)
    assert (found.image.entrypoint, found.image.cmd) == (("/entry.sh",), ("gunicorn", "app:app"))
    assert found.sandbox.mounts == (f"{here}/static:/srv/static",)
    assert found.services == (
        Service(
            "db",
            image="docker-archive:/images/pg.tar",
            user="postgres",
            env={"POSTGRES_PASSWORD": "s$ecret"},
            health=("/bin/sh", "-c", "pg_isready -U app"),
            mounts=(f"{here}/init:/docker-entrypoint-initdb.d",),
        ),
        Service("migrate", image="docker://example/web", completes=True),
        Service("cache", image="docker://redis:7", cmd=("redis-server", "--save", ""), aliases=("sessions",)),
    )


def test_a_recipe_holds_its_services(file: Path) -> None:
    import tomllib

    found = read(file, "web", {})
    assert parse(tomllib.loads(found.dump()), "recipe.toml") == found


def test_variables_come_from_the_file_beside_it_and_the_caller_first(file: Path) -> None:
    file.with_name(".env").write_text("REDIS_TAG=6\nDB_PASSWORD=beside\n")
    found = read(file, "web", {"DB_PASSWORD": "caller"})
    assert found.services[2].image == "docker://redis:6"
    assert "caller" in found.runs[0].env["DATABASE_URL"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: {a: {image: x, depends_on: [b]}, b: {image: y, depends_on: [a]}}", "depend on one another"),
        ("services: {a: {image: x, depends_on: [b]}, b: {build: .}}", "b has no image"),
        ("services: {a: {image: x, depends_on: [c]}}", "depends on 'c'"),
        ("services: {a: {extends: b}}", "extends another"),
        ("services: {a: {image: '${NEEDED:?say so}'}}", "say so"),
        ("services: {b: {image: x}}", "no service 'a'"),
        ("services: [a]", "no services"),
        ("{", "not YAML"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        read(file, "a", {})
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_what_the_caller_names_himself_needs_no_image(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: x, depends_on: [b]}, b: {build: .}}")
    assert read(file, "a", {}, ["b"]).services == ()


def test_a_service_in_one_word(tmp_path: Path) -> None:
    assert service("db=docker://postgres:16,env=A=1,2,env=B=x=y,user=postgres,ready=5432,alias=sql") == Service(
        "db",
        image="docker://postgres:16",
        env={"A": "1,2", "B": "x=y"},
        user="postgres",
        ready="5432",
        aliases=("sql",),
    )
    assert service(f"db={tmp_path}").root == str(tmp_path)
    for wrong in ("db", "=x", "db=", "d b=x", "db=x,ready=nothing", "db=x,env=A"):
        with pytest.raises(UsageProblem):
            service(wrong)
