"""Push against Debian's docker-registry, and what skopeo makes of the result."""

from __future__ import annotations

import base64
import datetime
import json
import os
import random
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slimmer.cli.main import main
from slimmer.errors import SlimmerError
from slimmer.image.config import ImageConfig
from slimmer.image.index import push_index
from slimmer.image.layer import LayerOptions
from slimmer.image.layout import Image, build_image, read_layout
from slimmer.image.push import BlobStatus, Progress, PushOptions, push, push_referrer
from slimmer.registry import document
from slimmer.registry.client import Registry, RegistryOptions
from slimmer.registry.reference import Reference
from slimmer.registry.transport import Retry
from tests import daemons
from tests.daemons import PASSWORD, USER, RegistryServer
from tests.image_trees import of_files
from tests.support import requires

ROOT = of_files({"/bin/app": b"#!/bin/sh\n", "/data": random.Random(7).randbytes(700_000)})
ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with daemons.docker_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> tuple[Path, Image]:
    config = ImageConfig(cmd=("/bin/app",), architecture="amd64")
    return tmp_path / "image", build_image(ROOT, ["/bin/app", "/data"], config, tmp_path / "image", LayerOptions())


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@requires("skopeo")
@pytest.mark.parametrize("chunk", [0, 100_000, 1_000_000])
def test_what_is_pushed_is_pulled_back_bit_for_bit(
    registry: RegistryServer, layout: tuple[Path, Image], chunk: int, tmp_path: Path
) -> None:
    place, image = layout
    name = f"{registry.host}/pushed/in-chunks-of-{chunk}:1"
    told: list[Progress] = []
    assert push(place, f"docker://{name}", PushOptions(chunk=chunk, progress=told.append)) == image.manifest_digest
    assert {each.how for each in told} == {BlobStatus.SENDING, BlobStatus.UPLOADED}
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/back:latest")
    assert read_layout(tmp_path / "back").manifest == read_layout(place).manifest
    for blob in (place / "blobs/sha256").iterdir():
        assert (tmp_path / "back/blobs/sha256" / blob.name).read_bytes() == blob.read_bytes()
    with Registry(Reference.parse(name)) as client:
        layer = image.layers[0]
        assert sum(map(len, client.blob(layer.digest, layer.size))) == layer.size
        assert client.manifest_digest("1") == image.manifest_digest
        assert client.manifest_digest("2") is None


def test_what_is_there_is_not_sent_again_and_what_is_elsewhere_is_mounted(
    registry: RegistryServer, layout: tuple[Path, Image]
) -> None:
    place, image = layout
    told: list[Progress] = []
    push(place, f"{registry.host}/mount/source:1")
    push(place, f"{registry.host}/mount/source:2", PushOptions(progress=told.append))
    assert {each.how for each in told if each.sent} == {BlobStatus.EXISTS}
    told.clear()
    options = PushOptions(mount_from=("mount/nothing-there", "mount/source"), progress=told.append)
    digest = push(place, f"{registry.host}/mount/target:1", options)
    assert {each.how for each in told if each.sent} == {BlobStatus.MOUNTED}
    assert digest == image.manifest_digest


@requires("skopeo")
def test_an_index_is_pushed_whole(registry: RegistryServer, layout: tuple[Path, Image], tmp_path: Path) -> None:
    place, _ = layout
    build_image(ROOT, ["/bin/app"], ImageConfig(architecture="arm64", variant="v8"), tmp_path / "arm")
    digest = push_index([tmp_path / "arm", place], f"{registry.host}/pushed/index:1")
    name = f"docker://{registry.host}/pushed/index:1"
    assert document.digest(skopeo("inspect", "--raw", "--tls-verify=false", name).encode()) == digest
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", name, f"dir:{tmp_path}/all")
    for architecture in ("arm64", "amd64"):
        seen = skopeo("--override-arch", architecture, "inspect", "--tls-verify=false", name)
        assert json.loads(seen)["Architecture"] == architecture


def test_a_referrer_is_found_through_the_fallback_tag(registry: RegistryServer, layout: tuple[Path, Image]) -> None:
    place, image = layout
    push(place, f"{registry.host}/pushed/subject:1")
    subject = read_layout(place).manifest
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": image.image_id}
    size = len(read_layout(place).config_bytes)
    data = document.dump(
        {
            "schemaVersion": 2,
            "mediaType": subject.media_type,
            "artifactType": "application/vnd.example",
            "config": described | {"size": size},
            "layers": [described | {"size": size}],
            "subject": subject.fields(),
        }
    )
    with Registry(Reference.parse(f"{registry.host}/pushed/subject:1")) as client:
        digest = push_referrer(client, subject, data, subject.media_type)
        index = json.loads(client.manifest(subject.digest.replace(":", "-")).data)
    assert [(each["digest"], each["artifactType"]) for each in index["manifests"]] == [
        (digest, "application/vnd.example")
    ]


def test_the_right_password_is_let_in_and_a_wrong_one_is_not_told(
    layout: tuple[Path, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, image = layout
    with daemons.docker_registry(tmp_path / "server", password=True) as server:
        environ = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker"), "XDG_RUNTIME_DIR": str(tmp_path)}
        (tmp_path / "docker").mkdir()

        def login(password: str) -> None:
            auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
            (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))

        options = PushOptions(RegistryOptions(environ=environ, retry=ONCE))
        with pytest.raises(SlimmerError) as caught:
            push(place, f"{server.host}/private:1", options)
        assert "no credentials were found" in caught.value.hint
        login("wrong-" + PASSWORD)
        with pytest.raises(SlimmerError, match="401") as caught:
            push(place, f"{server.host}/private:1", options)
        assert PASSWORD not in str(caught.value)
        login(PASSWORD)
        assert push(place, f"{server.host}/private:1", options) == image.manifest_digest

        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
        with pytest.raises(SystemExit) as ended:
            main(["push", str(place), f"docker://{server.host}/private:2", "--json"])
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["pinned"] == f"{server.host}/private@{image.manifest_digest}"
        assert "exists" in said.err
        assert PASSWORD not in said.out + said.err
        login("wrong")
        with pytest.raises(SystemExit) as ended:
            main(["push", str(place), f"docker://{server.host}/private:2"])
        assert ended.value.code == 1


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    places = directory / "cert.pem", directory / "key.pem"
    places[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    places[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return places


def test_an_unknown_certificate_is_refused_unless_told_or_trusted(
    layout: tuple[Path, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, image = layout
    tls = certificate(tmp_path)
    with daemons.docker_registry(tmp_path / "server", tls=tls) as server:
        with pytest.raises(SlimmerError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            push(place, f"{server.host}/tls:1", PushOptions(RegistryOptions(retry=ONCE)))
        assert "--insecure" in caught.value.hint
        told = PushOptions(RegistryOptions(insecure=True))
        assert push(place, f"{server.host}/tls:1", told) == image.manifest_digest
        trusted = tmp_path / "certs.d"
        (trusted / server.host).mkdir(parents=True)
        os.link(tls[0], trusted / server.host / "ca.crt")
        monkeypatch.setattr("slimmer.registry.transport.CERTIFICATE_DIRECTORIES", (str(trusted),))
        assert push(place, f"{server.host}/tls:2") == image.manifest_digest
