"""An HTTPS server that answers as Kibana's Fleet does, as far as uploads of packages go."""

from __future__ import annotations

import io
import ssl
import zipfile
from typing import Any

import yaml
from aiohttp import web
from tests.unit.elastic.scripted import Seen, Server, json

from aquila_mde.settings import KibanaSettings

KEY = "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw=="
UPLOAD = "api/fleet/epm/packages"


def refusal(status: int, error: str, message: str) -> web.Response:
    """An error as Kibana writes it."""
    return json({"statusCode": status, "error": error, "message": message}, status)


class Fleet(Server):
    """Takes a package when everything about the request is as Fleet wants it.

    ``answers`` are given instead, in turn, to uploads; None lets Fleet decide.
    """

    def __init__(
        self,
        *answers: web.Response | None,
        tls: ssl.SSLContext | None = None,
        version: str = "9.1.3",
        space: str = "",
    ) -> None:
        super().__init__(tls=tls)
        self.answers = list(answers)
        self.version = version
        self.prefix = f"s/{space}/" if space else ""
        self.packages: dict[str, list[str]] = {}
        self.status: web.Response | None = None
        self.cut_at = ""

    def settings_of(self, **more: Any) -> KibanaSettings:
        return KibanaSettings(url=self.url, **{"api_key": KEY, **more})

    async def answer(self, seen: Seen) -> web.Response | None:
        if not seen.path.startswith(self.prefix):
            return refusal(404, "Not Found", "Not Found")
        path = seen.path.removeprefix(self.prefix)
        if self.cut_at and path == self.cut_at:
            return None
        known = seen.headers.get("authorization") == f"ApiKey {KEY}"
        if path == "api/status":
            if self.status is not None:
                return self.status
            overall = {"status": {"overall": {"level": "available"}}}
            return json({"version": {"number": self.version}, **overall} if known else overall)
        if not known:
            return refusal(401, "Unauthorized", "[security_exception] missing credentials")
        if path == UPLOAD and seen.method == "POST":
            instead = self.answers.pop(0) if self.answers else None
            return instead or self._upload(seen)
        if path.startswith(f"{UPLOAD}/") and seen.method == "GET":
            return self._package(path.removeprefix(f"{UPLOAD}/"))
        return refusal(404, "Not Found", "Not Found")

    def _package(self, name: str) -> web.Response:
        held = [top for top in self.packages if top.startswith(f"{name}-")]
        if not held:
            said = f"[{name}] package not installed or found in registry"
            return refusal(404, "Not Found", said)
        version = held[-1].removeprefix(f"{name}-")
        told = {"name": name, "version": version, "install_source": "upload"}
        item = {"name": name, "version": version, "status": "installed", "installationInfo": told}
        return json({"item": item})

    def _upload(self, seen: Seen) -> web.Response:
        if "kbn-xsrf" not in seen.headers:
            return refusal(400, "Bad Request", "Request must contain a kbn-xsrf header.")
        if seen.headers.get("elastic-api-version") != "2023-10-31":
            return refusal(400, "Bad Request", "Invalid version. Expected 2023-10-31.")
        if seen.headers.get("content-type") not in ("application/zip", "application/gzip"):
            return refusal(415, "Unsupported Media Type", "Unsupported Media Type")
        archive = zipfile.ZipFile(io.BytesIO(seen.body))
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        if len(tops) != 1:
            message = "Package contains more than one top-level directory."
            return refusal(400, "Bad Request", f"Invalid archive: {message}")
        (top,) = tops
        if f"{top}/manifest.yml" not in names:
            message = "Package must contain a top-level manifest.yml file."
            return refusal(400, "Bad Request", f"Invalid archive: {message}")
        manifest = yaml.safe_load(archive.read(f"{top}/manifest.yml"))
        if top != f"{manifest['name']}-{manifest['version']}":
            message = f"Name {manifest['name']} and version do not match the top-level directory"
            return refusal(400, "Bad Request", f"Invalid archive: {message}")
        self.packages[top] = names
        items = [
            {"id": name, "type": "ingest_pipeline"} for name in names if "/ingest_pipeline/" in name
        ] + [{"id": name, "type": "ilm_policy"} for name in names if "/ilm/" in name]
        return json({"items": items, "_meta": {"install_source": "upload"}})
