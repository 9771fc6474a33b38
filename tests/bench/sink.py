"""A sink that only answers: it says of every document that it was created and keeps none."""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import msgspec

from tests.bench.http_server import Request, Response, serve

_BACKING = ".ds-logs-bench-2026.01.01-000001"
_ITEM = f'{{"create":{{"_index":"{_BACKING}","status":201}}}}'.encode()
_ELASTIC = "x-elastic-product: Elasticsearch\r\n"
_WHO = msgspec.json.encode(
    {
        "name": "sink",
        "cluster_name": "sink",
        "version": {"number": "9.1.0", "build_flavor": "default"},
        "tagline": "You Know, for Search",
    }
)


class Sink:
    """Answers as Elasticsearch does and counts what it was sent."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._bulks = 0
        self._forget()

    def _forget(self) -> None:
        self.requests = self.bytes = 0
        self.documents: Counter[str] = Counter()
        self._cpu = time.process_time()

    def __call__(self, request: Request) -> Response:
        """The answer to ``request``."""
        path = request.path
        if path == "/_told":
            told = {
                "requests": self.requests,
                "documents": self.documents,
                "bytes": self.bytes,
                "cpu_s": time.process_time() - self._cpu,
            }
            self._forget()
            return Response(msgspec.json.encode(told))
        self.requests += 1
        if path.endswith("_bulk"):
            # The helpers of elasticsearch-py name the index in the lines, not in the address.
            index = path.split("/")[1]
            if self._folder is not None:
                file = self._folder / f"{index}-{self._bulks:06}.ndjson"
                file.write_bytes(request.body)
            self._bulks += 1
            self.bytes += request.size
            self.documents[index] += request.lines // 2
            return Response(_created(request.lines // 2), headers=_ELASTIC)
        return Response(self._other(request), headers=_ELASTIC)

    def _other(self, request: Request) -> bytes:
        if request.path == "/":
            return _WHO
        if request.path.startswith("/_data_stream/"):
            index = {"index_name": _BACKING}
            return msgspec.json.encode({"data_streams": [{"name": "bench", "indices": [index]}]})
        if request.path.endswith("_mget"):
            ids = msgspec.json.decode(request.body)["ids"]
            return msgspec.json.encode({"docs": [{"_id": each, "found": False} for each in ids]})
        if request.path.endswith("_search"):
            return b'{"hits":{"total":{"value":0},"hits":[]}}'
        return b'{"index_templates":[{"name":"bench"}]}'


@cache
def _created(count: int) -> bytes:
    return b'{"errors":false,"took":1,"items":[' + b",".join([_ITEM] * count) + b"]}"


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    serve(Sink(where), {}, keep=where is not None)
