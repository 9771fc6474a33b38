"""The sign-in service: token requests of an application, and OpenID discovery.

Errors have the codes, statuses and shape of Microsoft Entra. A missing permission is no error: the
token is given, without the role.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from aquila_mde.simulator.clock import SECOND, Clock, to_datetime
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of

RESOURCE = "https://api.securitycenter.microsoft.com"
"""The audience of tokens for the Defender API in the commercial cloud."""
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFETIME = 3599


@dataclass(frozen=True)
class Claims:
    """What a token says of its bearer."""

    audience: str
    application: str
    roles: frozenset[str]
    expires: int
    operator: str = ""
    """Who has signed in, where it was a person; then there are scopes and no roles."""
    scopes: frozenset[str] = frozenset()


@dataclass
class Application:
    """A registered application of the tenant."""

    client_id: str
    secrets: dict[str, int | None]
    """Secrets with the time they expire."""
    roles: set[str]
    certificates: list[Certificate] = field(default_factory=list)
    has_principal: bool = True
    """Whether it is known in the tenant, not registered only."""
    valid_from: dict[str, float] = field(default_factory=dict)
    """From which second after the start on a secret (or a certificate, by its key) signs in."""


class SignInRefused(Exception):  # noqa: N818 - an answer, not a failure of the program
    """A token request that gets an error answer."""

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.code, self.message = status, error, code, message


class SignIn:
    """Gives tokens for one tenant and says which are valid."""

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        seed: int,
        clock: Clock,
        roles: Iterable[str],
        *,
        registered: bool = True,
    ) -> None:
        rng = random_of(seed, "identity", 1)
        self.tenant_id = tenant_id
        self.secret = f"{hex_of(rng, 3)}8Q~{hex_of(rng, 34)}"
        self.secret_id = guid_of(rng)
        self.application = Application(client_id, {self.secret: None}, set(roles))
        """The one that collects; in a tenant that begins without any, the one made last."""
        self._applications = {client_id: self.application} if registered else {}
        self.resources = {RESOURCE}
        """Audiences of tokens for the Defender API."""
        self.graph_resources: set[str] = set()
        """Audiences of tokens for Microsoft Graph that an application may ask for."""
        self.graph_roles: set[str] = set()
        """Permissions that are Graph's, and so only in the tokens for it."""
        self.names = {tenant_id, "contoso.onmicrosoft.com", "organizations"}
        self.grants: dict[str, Callable[[str, dict[str, str]], dict[str, Any]]] = {}
        """Further ways to a token, by grant type: of the base URL and the form."""
        self._clock = clock
        self._lock = threading.Lock()
        self._key = _signing_key()
        self._key_id = guid_of(rng)
        self._tokens: dict[str, Claims] = {}

    def add(self, application: Application) -> None:
        """Let another application sign in."""
        with self._lock:
            self._applications[application.client_id] = application
        self.application = application

    def discovery(self, base: str, tenant: str) -> dict[str, Any]:
        """The OpenID configuration of ``tenant``."""
        self._known(tenant)
        return {
            "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": [
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic",
            ],
            "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base}/{self.tenant_id}/v2.0",
            "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/devicecode",
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        }

    def keys(self) -> dict[str, Any]:
        """The public key that tokens are signed with, as a key set."""
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "use": "sig", "kid": self._key_id}]}

    def token(self, base: str, tenant: str, form: dict[str, str]) -> dict[str, Any]:
        """The answer to a token request. Raises :class:`SignInRefused`."""
        self._known(tenant)
        if not form.get("grant_type"):
            raise _missing("grant_type")
        if form["grant_type"] in self.grants:
            return self.grants[form["grant_type"]](base, form)
        if form["grant_type"] != "client_credentials":
            raise SignInRefused(
                400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."
            )
        client_id = form.get("client_id")
        if not client_id:
            raise _missing("client_id")
        resource = self._resource(form.get("scope"))
        application = self._applications.get(client_id)
        if application is None or not application.has_principal:
            raise SignInRefused(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client_id}' was not found in the directory "
                "'Contoso'. This can happen if the application has not been installed by the "
                "administrator of the tenant or consented to by any user in the tenant.",
            )
        self._authenticate(application, f"{base}/{tenant}/oauth2/v2.0/token", form)
        of_graph = resource in self.graph_resources
        roles = frozenset(
            role for role in application.roles if (role in self.graph_roles) == of_graph
        )
        return self.issue(base, Claims(resource, client_id, roles, self._end()))

    def claims(self, token: str) -> Claims | None:
        """What a valid token says, or None for one that is unknown, revoked or expired."""
        with self._lock:
            claims = self._tokens.get(token)
        return claims if claims and claims.expires > self._clock.now() else None

    def revoke(self) -> None:
        """Make every token that was given invalid."""
        with self._lock:
            self._tokens.clear()

    def problem(self, refused: SignInRefused, correlation_id: str) -> dict[str, Any]:
        """The body of an error answer."""
        trace = str(uuid4())
        stamp = f"{to_datetime(self._clock.now()):%Y-%m-%d %H:%M:%S}Z"
        return {
            "error": refused.error,
            "error_description": (
                f"AADSTS{refused.code}: {refused.message} Trace ID: {trace} "
                f"Correlation ID: {correlation_id} Timestamp: {stamp}"
            ),
            "error_codes": [refused.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={refused.code}",
        }

    def _known(self, tenant: str) -> None:
        if tenant.lower() not in self.names:
            raise SignInRefused(
                400,
                "invalid_tenant",
                90002,
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID "
                "and are signing into the correct cloud.",
            )

    def _resource(self, scope: str | None) -> str:
        if not scope:
            raise _missing("scope")
        if not scope.endswith("/.default"):
            raise SignInRefused(
                400,
                "invalid_scope",
                1002012,
                f"The provided value for scope {scope} is not valid. Client credential flows must "
                "have a scope value with /.default suffixed to the resource identifier.",
            )
        resource = scope.removesuffix("/.default").rstrip("/")
        if resource not in self.resources | self.graph_resources:
            raise SignInRefused(
                400,
                "invalid_resource",
                500011,
                f"The resource principal named {resource} was not found in the tenant named "
                "Contoso.",
            )
        return resource

    def _authenticate(self, held: Application, endpoint: str, form: dict[str, str]) -> None:
        if form.get("client_assertion_type") == _ASSERTION and form.get("client_assertion"):
            self._check_assertion(held, endpoint, form["client_assertion"])
            return
        secret = form.get("client_secret")
        if not secret:
            raise SignInRefused(
                401,
                "invalid_client",
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or "
                "'client_secret'.",
            )
        matching = [
            known
            for known in held.secrets
            if hmac.compare_digest(known, secret) and self._counts(held, known)
        ]
        if not matching:
            raise SignInRefused(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is "
                "the client secret value, not the client secret ID, for a secret added to app "
                f"'{held.client_id}'.",
            )
        expires = held.secrets[matching[0]]
        if expires is not None and expires <= self._clock.now():
            raise SignInRefused(
                401,
                "invalid_client",
                7000222,
                f"The provided client secret keys for app '{held.client_id}' are expired. Visit "
                "the Azure portal to create new keys for your app.",
            )

    def _check_assertion(self, held: Application, endpoint: str, assertion: str) -> None:
        try:
            certificate = self._certificate(held, jwt.get_unverified_header(assertion))
            key = certificate.public_key()
            # The bearer's clock is the real one, whatever the tenant's says.
            if not isinstance(key, rsa.RSAPublicKey):
                raise jwt.InvalidKeyError
            jwt.decode(
                assertion,
                key,
                algorithms=["RS256", "PS256"],
                audience=endpoint,
                issuer=held.client_id,
                options={"require": ["exp", "iss", "sub", "aud", "jti"]},
            )
        except (jwt.PyJWTError, LookupError) as error:
            raise SignInRefused(
                401,
                "invalid_client",
                700027,
                "The certificate with identifier used to sign the client assertion is not "
                "registered on application, or the client assertion is not valid: "
                f"[Reason - {type(error).__name__}].",
            ) from error
        if certificate.not_valid_after_utc.timestamp() < time.time():
            raise SignInRefused(
                401,
                "invalid_client",
                700027,
                "The certificate used to sign the client assertion is expired on application. "
                f"[Reason - The key used is expired., Thumbprint of key used by client: "
                f"'{certificate.fingerprint(hashes.SHA1()).hex().upper()}'].",  # noqa: S303
            )

    def _counts(self, held: Application, credential: str) -> bool:
        return self._clock.elapsed() >= held.valid_from.get(credential, 0)

    def _certificate(self, held: Application, header: dict[str, Any]) -> Certificate:
        for certificate in held.certificates:
            if not self._counts(held, key_of(certificate)):
                continue
            der = certificate.public_bytes(Encoding.DER)
            thumbprints = {
                "x5t": hashlib.sha1(der, usedforsecurity=False).digest(),
                "x5t#S256": hashlib.sha256(der).digest(),
            }
            for name, thumbprint in thumbprints.items():
                text = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
                if str(header.get(name, "")).rstrip("=") == text:
                    return certificate
        raise LookupError

    def _end(self) -> int:
        return self._clock.now() + _LIFETIME * SECOND

    def person(
        self, audience: str, application: str, operator: str, scopes: Iterable[str]
    ) -> Claims:
        """What a token says when a person has signed in."""
        return Claims(audience, application, frozenset(), self._end(), operator, frozenset(scopes))

    def issue(self, base: str, claims: Claims) -> dict[str, Any]:
        """A token that says ``claims``, as the token endpoint hands it out."""
        now = self._clock.now()
        payload: dict[str, Any] = {
            "aud": claims.audience,
            "iss": f"{base}/{self.tenant_id}/",
            "iat": now // SECOND,
            "nbf": now // SECOND,
            "exp": claims.expires // SECOND,
            "appid": claims.application,
            "app_displayname": "aquila",
            "tid": self.tenant_id,
            "uti": str(uuid4()),
            "ver": "1.0",
        }
        if claims.roles:
            payload["roles"] = sorted(claims.roles)
        if claims.operator:
            payload |= {"upn": claims.operator, "scp": " ".join(sorted(claims.scopes))}
        token = self.signed(payload)
        with self._lock:
            self._tokens[token] = claims
        return {
            "token_type": "Bearer",
            "expires_in": _LIFETIME,
            "ext_expires_in": _LIFETIME,
            "access_token": token,
        }

    def signed(self, payload: dict[str, Any]) -> str:
        """``payload`` as a signed token."""
        return jwt.encode(payload, self._key, algorithm="RS256", headers={"kid": self._key_id})


def key_of(credential: str | Certificate) -> str:
    """The key id of a secret or certificate, as the directory tells it."""
    data = (
        credential.encode()
        if isinstance(credential, str)
        else credential.public_bytes(Encoding.DER)
    )
    return str(UUID(bytes=hashlib.sha256(data).digest()[:16], version=4))


@cache
def _signing_key() -> rsa.RSAPrivateKey:
    # One for all tenants of the process: making it is most of the time a small one takes to start.
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def read_certificate(pem: bytes) -> Certificate:
    """The certificate in a PEM file, which may hold a key beside it."""
    return x509.load_pem_x509_certificate(pem)


def _missing(name: str) -> SignInRefused:
    return SignInRefused(
        400,
        "invalid_request",
        900144,
        f"The request body must contain the following parameter: '{name}'.",
    )
