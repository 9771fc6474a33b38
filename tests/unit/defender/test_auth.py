from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import socket
import time
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response
from tests.unit.defender.scripted_microsoft import CLIENT, SECRET, TENANT, Microsoft, aadsts

from aquila_mde.defender.auth import Credential, Token, TokenSource
from aquila_mde.defender.clouds import resolve_cloud
from aquila_mde.defender.errors import DefenderUnavailableError, SignInError
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.settings import TenantSettings


def _source(
    microsoft: Microsoft, credential: Credential | None = None, **options: object
) -> TokenSource:
    credential = credential or Credential(TENANT, CLIENT, secret=SecretStr(SECRET))
    options.setdefault("ca_file", microsoft.ca_file)
    return TokenSource(credential, microsoft.cloud, **options)  # type: ignore[arg-type]


async def _refused(source: TokenSource) -> SignInError:
    with pytest.raises(SignInError) as caught:
        await source.token()
    return caught.value


async def _unavailable(source: TokenSource) -> DefenderUnavailableError:
    with pytest.raises(DefenderUnavailableError) as caught:
        await source.token()
    return caught.value


@pytest.fixture
def certificate_file(tmp_path: Path) -> Path:
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    own = authority.issue_cert("aquila.example", key_type=trustme.KeyType.RSA)
    file = tmp_path / "aquila-mde.pem"
    # The key first or last, and the issuer's certificate before our own: all of that occurs.
    file.write_bytes(
        authority.cert_pem.bytes() + own.private_key_pem.bytes() + own.cert_chain_pems[0].bytes()
    )
    return file


class TestSecret:
    async def test_a_token_comes_with_the_roles_that_were_consented_to(
        self, microsoft: Microsoft
    ) -> None:
        microsoft.roles = ["Alert.Read.All", "Machine.Read.All"]
        token = await _source(microsoft).token()
        assert token.value.get_secret_value() in microsoft.tokens
        assert token.roles == {"Alert.Read.All", "Machine.Read.All"}
        assert 3500 < token.expires_at - time.monotonic() <= 3600
        assert microsoft.token_calls[0]["client_id"] == CLIENT

    async def test_a_token_is_asked_for_once_and_by_one_at_a_time(
        self, microsoft: Microsoft
    ) -> None:
        source = _source(microsoft)
        tokens = await asyncio.gather(*(source.token() for _ in range(20)))
        assert len(set(tokens)) == 1
        assert len(microsoft.token_calls) == 1

    async def test_an_invalid_token_is_replaced_by_a_new_one_once(
        self, microsoft: Microsoft
    ) -> None:
        source = _source(microsoft)
        old = await source.token()
        for _ in range(3):  # several calls may find out at the same time
            source.invalidate(old)
            new = await source.token()
        assert new.value != old.value
        assert len(microsoft.token_calls) == 2

    async def test_a_token_is_renewed_five_minutes_before_its_end(
        self, microsoft: Microsoft
    ) -> None:
        source = _source(microsoft)
        microsoft.lifetime = 310
        first = await source.token()
        assert 140 < first.renew_at - time.monotonic() <= 155  # half of so short a life
        microsoft.lifetime = 3600
        source.invalidate(first)
        second = await source.token()
        assert second.renew_at == second.expires_at - 300

    async def test_an_outage_at_renewal_is_no_fault_while_the_old_token_is_good(
        self, microsoft: Microsoft
    ) -> None:
        microsoft.lifetime = 3600
        source = _source(microsoft)
        old = await source.token()
        _age(source, old, expires_in=200, renew_in=-1)
        microsoft.sign_in = lambda _: Response(status_code=503)
        same = await source.token()
        assert same.value == old.value
        assert len(microsoft.token_calls) == 2
        await source.token()
        assert len(microsoft.token_calls) == 2  # not asked again with every call

        _age(source, old, expires_in=-1, renew_in=-1)
        error = await _unavailable(source)
        assert "503" in error.message

    async def test_nothing_shows_the_secret_or_the_token(self, microsoft: Microsoft) -> None:
        credential = Credential(TENANT, CLIENT, secret=SecretStr(SECRET))
        source = _source(microsoft, credential)
        token = await source.token()
        assert SECRET not in repr(credential)
        assert token.value.get_secret_value() not in f"{token!r} {token}"
        microsoft.sign_in = lambda _: aadsts(42, f"The secret {SECRET} is not nice.")
        source.invalidate(token)
        error = await _refused(source)
        assert SECRET not in str(error)
        assert "is not nice" in str(error)


def _age(source: TokenSource, token: Token, *, expires_in: float, renew_in: float) -> None:
    now = time.monotonic()
    source._current = Token(token.value, now + expires_in, now + renew_in, token.roles)


class TestCertificate:
    async def test_the_assertion_is_signed_by_the_key_and_names_the_certificate(
        self, microsoft: Microsoft, certificate_file: Path
    ) -> None:
        own = x509.load_pem_x509_certificates(certificate_file.read_bytes())[1]
        microsoft.certificates = [own]
        source = _source(microsoft, Credential(TENANT, CLIENT, certificate=certificate_file))
        first = await source.token()
        source.invalidate(first)
        assert (await source.token()).value != first.value

        one = microsoft.assertions[0]
        assert one["sub"] == CLIENT
        digest = hashlib.sha256(own.public_bytes(Encoding.DER)).digest()
        thumbprint = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert one["header"]["x5t#S256"].rstrip("=") == thumbprint
        assert "client_secret" not in microsoft.token_calls[0]

    async def test_a_certificate_that_entra_does_not_know_is_told(
        self, microsoft: Microsoft, certificate_file: Path
    ) -> None:
        source = _source(microsoft, Credential(TENANT, CLIENT, certificate=certificate_file))
        error = await _refused(source)
        assert error.code == 700027
        assert "Certificates" in error.hint

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("", "no private key"),
            ("certificate", "no private key"),
            ("key", "no certificate"),
            ("key of another + certificate", "belongs to the private key"),
            ("elliptic", "not an RSA key"),
            ("encrypted", "encrypted"),
            (b"\xff\xfe", "not a text file"),
            (None, "No such file"),
        ],
    )
    def test_a_file_that_is_no_credential_is_named(
        self, tmp_path: Path, content: str | bytes | None, problem: str
    ) -> None:
        file = tmp_path / "credential.pem"
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        own = authority.issue_cert("a.example", key_type=trustme.KeyType.RSA)
        other = authority.issue_cert("b.example", key_type=trustme.KeyType.RSA)
        elliptic = authority.issue_cert("c.example", key_type=trustme.KeyType.ECDSA)
        known = {
            "certificate": own.cert_chain_pems[0].bytes(),
            "key": own.private_key_pem.bytes(),
            "key of another + certificate": other.private_key_pem.bytes()
            + own.cert_chain_pems[0].bytes(),
            "elliptic": elliptic.private_key_pem.bytes(),
            "encrypted": _encrypted(own.private_key_pem.bytes()),
        }
        if content is not None:
            file.write_bytes(
                known.get(content, content.encode()) if isinstance(content, str) else content
            )
        with pytest.raises(ConfigurationError, match=problem) as caught:
            Credential(TENANT, CLIENT, certificate=file).for_msal()
        assert str(file) in caught.value.message
        assert "PRIVATE KEY" not in str(caught.value)


def _encrypted(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )


class TestSettings:
    def test_a_secret_in_a_file_loses_its_line_end(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text("s3cret\n")
        credential = Credential.from_settings(_tenant(client_secret_file=file))
        assert credential.for_msal() == "s3cret"
        assert credential.tenant_id == TENANT

    def test_an_empty_or_missing_secret_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(ConfigurationError, match="empty"):
            Credential.from_settings(_tenant(client_secret_file=tmp_path / "empty"))
        with pytest.raises(ConfigurationError, match=r"client_secret_file, .*missing"):
            Credential.from_settings(_tenant(client_secret_file=tmp_path / "missing"))

    def test_a_secret_or_certificate_is_taken_as_it_is(self, tmp_path: Path) -> None:
        assert Credential.from_settings(_tenant(client_secret="s")).for_msal() == "s"
        file = tmp_path / "c.pem"
        assert Credential.from_settings(_tenant(certificate=file)).certificate == file

    def test_a_credential_without_anything_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="neither"):
            Credential(TENANT, CLIENT).for_msal()


def _tenant(**values: object) -> TenantSettings:
    return TenantSettings.model_validate({"id": TENANT, "client_id": CLIENT, **values})


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "message", "hint"),
        [
            (7000215, "secret is wrong", "instead of its value"),
            (7000222, "secret has expired", "new secret"),
            (700016, "does not know the application", "tenant.client_id"),
            (90002, "no such tenant", "tenant.id"),
            (700027, "certificate", "thumbprint"),
            (53003, "Conditional Access", "Conditional Access"),
            (500011, "does not know the Defender API", "licence"),
            (7000112, "Application is disabled", "AADSTS7000112"),
        ],
    )
    async def test_each_code_says_what_is_wrong_and_what_to_do(
        self, microsoft: Microsoft, code: int, message: str, hint: str
    ) -> None:
        microsoft.sign_in = lambda _: aadsts(code, "Application is disabled.")
        error = await _refused(_source(microsoft))
        assert error.code == code
        assert f"AADSTS{code}" in error.message
        assert message in error.message
        assert hint in error.hint
        assert error.request_id == "trace-of-the-refusal"
        assert error.exit_code is ExitCode.SIGN_IN
        assert "Trace ID" not in error.message

    async def test_a_refusal_is_not_remembered(self, microsoft: Microsoft) -> None:
        answers = [aadsts(7000215, "wrong", status=400), Response(status_code=503)]
        microsoft.sign_in = lambda _: answers.pop(0)
        source = _source(microsoft)
        await _refused(source)
        await _unavailable(source)
        microsoft.sign_in = None
        assert (await source.token()).value.get_secret_value() in microsoft.tokens

    async def test_an_unknown_tenant_is_already_refused_at_discovery(
        self, microsoft: Microsoft
    ) -> None:
        microsoft.discovery = lambda _: aadsts(90002, "Tenant not found.", status=400)
        assert (await _refused(_source(microsoft))).code == 90002

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"error": "unauthorized_client"}, "unauthorized_client"),
            ({"error": "x", "error_description": "AADSTS7000222: late"}, "expired"),
            ({"error": "x", "error_description": "plain words\r\nTrace"}, "plain words"),
            ({"unexpected": True}, "no reason"),
        ],
    )
    async def test_an_answer_in_another_form_is_read_as_far_as_it_goes(
        self, microsoft: Microsoft, body: dict[str, object], message: str
    ) -> None:
        microsoft.sign_in = lambda _: JSONResponse(body, status_code=400)
        assert message in (await _refused(_source(microsoft))).message

    async def test_a_token_that_is_no_jwt_has_no_roles(self, microsoft: Microsoft) -> None:
        for opaque in ("opaque", "a.b.c", "a.W10.c"):
            microsoft.sign_in = lambda _, token=opaque: JSONResponse(
                {"token_type": "Bearer", "access_token": token, "expires_in": 60}
            )
            assert (await _source(microsoft).token()).roles == frozenset()


class TestOutages:
    @pytest.mark.parametrize("where", ["discovery", "sign_in"])
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (Response(status_code=500), "HTTP 500"),
            (Response(status_code=429, headers={"Retry-After": "17"}), "HTTP 429"),
            (Response("<html>Log in to Wi-Fi</html>", media_type="text/html"), "text/html"),
            (Response("[]", media_type="application/json"), "application/json"),
            (Response(status_code=302, headers={"Location": "https://portal/"}), "HTTP 302"),
        ],
    )
    async def test_an_answer_that_is_none_may_be_another_time(
        self, microsoft: Microsoft, where: str, answer: Response, message: str
    ) -> None:
        setattr(microsoft, where, lambda _: answer)
        error = await _unavailable(_source(microsoft))
        assert "127.0.0.1" in error.message
        assert message in error.message
        assert error.wait == (17.0 if "429" in message else None)
        assert error.tenant == TENANT

    async def test_busy_is_not_refused(self, microsoft: Microsoft) -> None:
        microsoft.sign_in = lambda _: JSONResponse(
            {"error": "temporarily_unavailable", "error_description": "AADSTS90033: later"}, 400
        )
        await _unavailable(_source(microsoft))

    async def test_an_untrusted_certificate_names_host_and_ca_file(
        self, microsoft: Microsoft
    ) -> None:
        error = await _unavailable(_source(microsoft, ca_file=None))
        assert "The certificate of 127.0.0.1" in error.message
        assert "ca_file" in error.hint

    async def test_a_refused_connection_names_the_host(self, microsoft: Microsoft) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            cloud = resolve_cloud("commercial", sign_in=f"https://127.0.0.1:{port}")
            source = TokenSource(Credential(TENANT, CLIENT, secret=SecretStr(SECRET)), cloud)
            error = await _unavailable(source)
        assert f"127.0.0.1:{port} refuses the connection" in error.message
        assert "proxy" in error.hint

    async def test_an_unknown_host_is_named(self) -> None:
        cloud = resolve_cloud("commercial", sign_in="https://login.invalid")
        source = TokenSource(Credential(TENANT, CLIENT, secret=SecretStr(SECRET)), cloud)
        error = await _unavailable(source)
        assert "The name login.invalid cannot be resolved" in error.message

    async def test_a_sign_in_url_that_is_none_is_a_matter_of_settings(self) -> None:
        cloud = resolve_cloud("commercial", sign_in="http://login.example")
        source = TokenSource(Credential(TENANT, CLIENT, secret=SecretStr(SECRET)), cloud)
        error = await _refused(source)
        assert "tenant.sign_in_url" in error.hint

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_a_ca_file_that_cannot_be_used_is_named(
        self, microsoft: Microsoft, tmp_path: Path, content: str | None
    ) -> None:
        file = tmp_path / "ca.pem"
        if content:
            file.write_text(content)
        with pytest.raises(ConfigurationError, match=r"ca\.pem cannot be read") as caught:
            _source(microsoft, ca_file=file)
        assert "AQUILA_CA_FILE" in caught.value.hint

    async def test_the_variable_of_another_library_does_not_replace_ca_file(
        self, microsoft: Microsoft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
        assert await _source(microsoft).token()


async def test_msal_and_httpx_log_no_secret(
    microsoft: Microsoft, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = await _source(microsoft).token()
    assert caplog.records
    assert SECRET not in caplog.text
    assert token.value.get_secret_value() not in caplog.text
