"""elasticsearch-py without its media types, so that its helpers speak to every engine."""

from __future__ import annotations

from typing import Any

from elastic_transport import HttpHeaders, Urllib3HttpNode

from aquila_mde.elastic.dialect import _adopt, _plain


class PlainSyncNode(Urllib3HttpNode):
    """What :class:`aquila_mde.elastic.dialect.PlainNode` is for the synchronous client."""

    def perform_request(
        self, method: str, target: str, body: Any = None, headers: Any = None, **more: Any
    ) -> Any:
        """Send one request with plain media types."""
        plain = _plain(headers or HttpHeaders())
        answer = super().perform_request(method, target, body=body, headers=plain, **more)
        _adopt(answer.meta)
        return answer
