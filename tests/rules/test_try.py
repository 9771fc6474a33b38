"""``rules try`` against a real engine, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.rules.records import MACHINE, document
from tests.system.conftest import Job

RULES = ("isolation_released", "many_machines_contained", "alert_closed_by_responder")


def put(work: Job, now: datetime, *records: dict[str, object]) -> None:
    """Index ``records`` of a tenant that is called as the namespace of the job."""
    for said in records:
        stream, made = document({"tenant": work.namespace, **said}, now)
        made["data_stream"]["namespace"] = work.namespace
        work.ask("POST", f"/{work.index(stream)}/_doc?op_type=create", made)


async def test_what_the_rules_find_is_told_with_its_values(job: Callable[..., Job]) -> None:
    work, now = job(), datetime.now(UTC)
    closed = {
        "status": "Resolved",
        "classification": "FalsePositive",
        "assignedTo": "analyst@contoso.com",
    }
    put(
        work,
        now,
        {"stream": "machine_action", "ago": "50m"},
        {"stream": "machine_action", "ago": "20m", "record": {"id": "a2", "type": "Unisolate"}},
        {"stream": "alert", "ago": "10m", "record": closed},
    )
    named = [word for name in RULES for word in ("--rule", name)]
    told = json.loads(work.command("rules", "try", *named, "--last", "1d", "--json"))
    assert [one["rule"] for one in told] == sorted(RULES)
    tenant = f"tenant-{work.namespace}"
    found = {
        one["rule"]: [each for each in one["findings"] if tenant in each["values"].values()]
        for one in told
    }
    same = {"organization.id": tenant, "host.id": MACHINE}
    assert found["many_machines_contained"] == []
    (one,) = found["isolation_released"]
    assert one["values"] == same
    assert abs(datetime.fromisoformat(one["at"]) - now + timedelta(minutes=20)).seconds < 1
    (one,) = found["alert_closed_by_responder"]
    assert one["values"] == same | {"person": "analyst@contoso.com"}
    assert {one["severity"] for one in told} == {"high", "critical", "medium"}

    table = work.command("rules", "try", "--rule", "isolation_released", "--last", "1d")
    assert "In the last 1d" in table
    assert "isolation_released" in table
