"""The engine of a system test takes a document and gives it back."""

import httpx


def test_the_engine_takes_a_document_and_gives_it_back(engine_url: str, namespace: str) -> None:
    template = f"smoke-{namespace}"
    stream = f"logs-smoke.test-{namespace}"
    document = {"@timestamp": "2026-01-01T00:00:00Z", "message": "taken"}
    with httpx.Client(base_url=engine_url, trust_env=False, timeout=60) as client:
        client.put(
            f"/_index_template/{template}",
            json={"index_patterns": [stream], "data_stream": {}, "priority": 500},
        ).raise_for_status()
        try:
            created = client.put(f"/{stream}/_create/1", json=document, params={"refresh": "true"})
            assert created.status_code == 201
            again = client.put(f"/{stream}/_create/1", json=document)
            assert again.status_code == 409
            hits = client.get(f"/{stream}/_search").json()["hits"]["hits"]
            assert [hit["_source"] for hit in hits] == [document]
        finally:
            client.delete(f"/_data_stream/{stream}").raise_for_status()
            client.delete(f"/_index_template/{template}").raise_for_status()
