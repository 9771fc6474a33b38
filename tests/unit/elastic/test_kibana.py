from __future__ import annotations

import io
import ssl
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from tests.unit.elastic.fleet import KEY, UPLOAD, Fleet, refusal

from aquila_mde.build.package import make_archive
from aquila_mde.elastic.kibana import Kibana, UploadReport, is_within
from aquila_mde.elastic.kibana_errors import (
    KibanaAccessError,
    KibanaUnavailableError,
    KibanaVersionError,
    PackageRefusedError,
)
from aquila_mde.errors import AquilaError, ConfigurationError, ExitCode
from aquila_mde.settings import KibanaSettings, load_kibana_settings
from aquila_mde.streams.tree import PackageTree

FOR = "^8.19.0 || ^9.1.0"
TOO_SOON = "Too many requests. Please wait 10s before uploading again."


def small_zip(top: str = "small-0.1.0", *more: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{top}/manifest.yml", "name: small\nversion: 0.1.0\n")
        for name in more:
            archive.writestr(name, "")
    return buffer.getvalue()


async def install(
    fleet: Fleet, archive: bytes | None = None, settings: KibanaSettings | None = None
) -> UploadReport:
    async with Kibana(settings or fleet.settings_of(), pause_seconds=0) as kibana:
        return await kibana.install(
            archive or small_zip(), name="small", version="0.1.0", made_for=FOR
        )


async def refused(fleet: Fleet, *arguments: object) -> AquilaError:
    with pytest.raises(AquilaError) as raised:
        await install(fleet, *arguments)  # type: ignore[arg-type]
    assert raised.value.hint
    assert KEY not in str(raised.value)
    return raised.value


async def test_the_package_of_this_checkout_is_taken_over_https(
    authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    package = make_archive(PackageTree.default())
    async with Fleet(tls=context) as fleet:
        settings = fleet.settings_of(ca_file=tmp_path / "ca.pem")
        async with Kibana(settings) as kibana:
            report = await kibana.install(
                package.zip(), name=package.name, version=package.version, made_for=package.kibana
            )
    assert report.kibana == "9.1.3"
    files = PackageTree.default().root.glob("data_stream/*/elasticsearch/*/*")
    kinds = Counter(file.parent.name for file in files)
    assert report.installed == {
        "ilm_policy": kinds["ilm"],
        "ingest_pipeline": kinds["ingest_pipeline"],
    }
    assert list(fleet.packages) == [f"aquila_mde-{package.version}"]
    (upload,) = fleet.asked("POST", UPLOAD)
    assert upload.query == {
        "ignoreMappingUpdateErrors": "false",
        "skipDataStreamRollover": "false",
    }


async def test_a_certificate_nobody_knows_is_named(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with Fleet(tls=context) as fleet:
        error = await refused(fleet)
    assert isinstance(error, KibanaAccessError)
    assert "KIBANA_CA_FILE" in error.hint
    assert error.exit_code is ExitCode.ENGINE_ACCESS


async def test_tls_where_there_is_none_is_named() -> None:
    async with Fleet() as fleet:
        url = fleet.url.replace("http:", "https:")
        error = await refused(fleet, None, KibanaSettings(url=url))
    assert "http://" in error.hint


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for file, problem in (("ca.pem", "no certificate"), ("none.pem", "No such file")):
        with pytest.raises(ConfigurationError, match=problem):
            Kibana(KibanaSettings(url="https://localhost", ca_file=tmp_path / file))


async def test_the_space_is_part_of_every_path() -> None:
    async with Fleet(space="soc") as fleet:
        await install(fleet, None, fleet.settings_of(space="soc"))
        assert [seen.path for seen in fleet.seen] == ["s/soc/api/status", f"s/soc/{UPLOAD}"]
        error = await refused(fleet, None, fleet.settings_of(space="other"))
    assert "space other" in error.message


async def test_after_another_upload_it_waits_and_tries_once_more() -> None:
    busy = refusal(429, "Too Many Requests", TOO_SOON)
    async with Fleet(busy, None) as fleet:
        await install(fleet)
        assert len(fleet.asked("POST", UPLOAD)) == 2
    async with Fleet(busy, busy, None) as fleet:
        error = await refused(fleet)
        assert isinstance(error, KibanaUnavailableError)
        assert TOO_SOON in error.message
        assert len(fleet.asked("POST", UPLOAD)) == 2


async def test_an_archive_that_fleet_refuses_is_told_in_its_words() -> None:
    async with Fleet() as fleet:
        for archive, told in (
            (small_zip("small-0.2.0"), "do not match the top-level directory"),
            (small_zip("small-0.1.0", "other/x"), "more than one top-level directory"),
        ):
            error = await refused(fleet, archive)
            assert isinstance(error, PackageRefusedError)
            assert told in error.message
            assert "package check" in error.hint


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (refusal(401, "Unauthorized", "expired"), KibanaAccessError, "KIBANA_API_KEY"),
        (refusal(403, "Forbidden", "no"), KibanaAccessError, "Fleet and Integrations"),
        (
            refusal(403, "Forbidden", "Requires Enterprise license"),
            KibanaVersionError,
            "8.7.0 to 8.8.2",
        ),
        (refusal(409, "Conflict", "Concurrent"), KibanaUnavailableError, "Integrations"),
        (refusal(413, "Too Large", "Payload"), PackageRefusedError, "proxy"),
        (refusal(415, "Unsupported", "media"), PackageRefusedError, "application/zip"),
        (refusal(500, "Internal Server Error", "boom"), PackageRefusedError, "log of Kibana"),
        (web.Response(status=502, text="<html>"), KibanaUnavailableError, "proxy"),
        (
            web.Response(status=503, text="Kibana server is not ready yet"),
            KibanaUnavailableError,
            "not ready yet",
        ),
        (web.Response(status=413, text="<html>nginx"), KibanaAccessError, "not Kibana"),
        (web.Response(status=200, text="<html>login"), KibanaAccessError, "not Kibana"),
        (
            web.Response(status=302, headers={"location": "/login?next=x"}),
            KibanaAccessError,
            "leads to /login",
        ),
    ],
)
async def test_each_refusal_says_what_to_do(
    answer: web.Response, kind: type[AquilaError], told: str
) -> None:
    async with Fleet(answer) as fleet:
        error = await refused(fleet)
    assert type(error) is kind
    assert told in str(error)
    assert error.exit_code in (ExitCode.ENGINE, ExitCode.ENGINE_ACCESS)


async def test_another_version_of_kibana_gets_nothing() -> None:
    async with Fleet(version="9.0.4") as fleet:
        error = await refused(fleet)
        assert isinstance(error, KibanaVersionError)
        assert "9.0.4" in error.message
        assert FOR in error.message
        assert fleet.asked("POST", "") == []


async def test_a_kibana_that_hides_its_version_wants_a_login() -> None:
    async with Fleet() as fleet:
        error = await refused(fleet, None, KibanaSettings(url=fleet.url))
        assert "ES_API_KEY" in error.hint
        fleet.status = refusal(400, "Bad Request", "odd")
        assert "odd" in (await refused(fleet)).message


@pytest.mark.parametrize(("path", "told"), [("api/status", "https://"), (UPLOAD, "Integrations")])
async def test_a_connection_that_breaks_is_told(path: str, told: str) -> None:
    async with Fleet() as fleet:
        fleet.cut_at = path
        error = await refused(fleet)
    assert "hung up" in error.message
    assert told in error.hint


async def test_nobody_there_and_a_name_nobody_knows() -> None:
    async with Fleet() as fleet:
        settings = fleet.settings_of()
    assert "Nothing answers" in (await refused(fleet, None, settings)).message
    unknown = KibanaSettings(url="https://kibana.invalid:5601")
    error = await refused(fleet, None, unknown)
    assert (
        error.message == "The host of kibana.invalid:5601 is not known: its name cannot be resolved"
    )


async def test_a_login_by_id_and_key_or_by_password_is_sent_as_kibana_wants_it() -> None:
    async with Fleet() as fleet:
        await install(
            fleet, None, fleet.settings_of(api_key="VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw")
        )
        settings = KibanaSettings(url=fleet.url, username="elastic", password="changeme")
        await refused(fleet, None, settings)
    assert fleet.seen[0].headers["authorization"] == f"ApiKey {KEY}"
    assert fleet.seen[-1].headers["authorization"] == "Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="


@pytest.mark.parametrize(
    ("version", "made_for", "fits"),
    [
        ("8.19.0", FOR, True),
        ("8.18.9", FOR, False),
        ("8.20.1", FOR, True),
        ("9.0.9", FOR, False),
        ("9.1.0", FOR, True),
        ("9.2.0-SNAPSHOT", FOR, True),
        ("10.0.0", FOR, False),
        ("10.0.0", "", True),
    ],
)
def test_a_caret_allows_newer_ones_of_the_same_major(
    version: str, made_for: str, fits: bool
) -> None:
    assert is_within(version, made_for) is fits


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is no version"):
        is_within("main", FOR)


def test_kibana_borrows_the_login_of_the_engine() -> None:
    variables = {"ES_API_KEY": "a:b", "ES_CA_FILE": "/ca.pem"}
    assert load_kibana_settings(None, variables) is None
    settings = load_kibana_settings(None, variables, url="https://kibana:5601", space="soc")
    assert settings is not None
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "a:b"
    assert (str(settings.ca_file), settings.space) == ("/ca.pem", "soc")
    own = load_kibana_settings(
        None, {**variables, "KIBANA_URL": "https://k", "KIBANA_API_KEY": "c:d"}
    )
    assert own is not None
    assert own.api_key is not None
    assert own.api_key.get_secret_value() == "c:d"


def test_settings_of_kibana_that_do_not_fit_are_named(tmp_path: Path) -> None:
    file = tmp_path / "aquila.yml"
    for text, told in (
        ("kibana: here\n", "kibana"),
        ("kibana: {url: 'https://k', username: x}\n", "go together"),
        ("kibana: {url: 'https://k', api_key: x, username: y, password: z}\n", "keep one"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=told):
            load_kibana_settings(file, {})
    with pytest.raises(ConfigurationError, match="KIBANA_URL"):
        load_kibana_settings(None, {}, space="soc")
