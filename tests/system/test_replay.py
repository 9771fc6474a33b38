"""Dead letters are sent again, each once, whatever happens on the way."""

from collections.abc import Callable

import pytest

from aquila_mde.collect import replay as replaying
from aquila_mde.collect.replay import ReplayReport, replay
from aquila_mde.elastic.errors import EngineUnavailableError
from aquila_mde.errors import ConfigurationError
from aquila_mde.simulator.quirks import Quirks
from tests.system.conftest import Job

MakeJob = Callable[..., Job]


def nested_limit(work: Job, limit: int | None) -> None:
    """Let the engine refuse alerts that have more pieces of evidence and comments than that."""
    work.ask(
        "PUT", f"/{work.index('alert')}/_settings", {"index.mapping.nested_objects.limit": limit}
    )


async def refused_alerts(work: Job) -> int:
    """Alerts in the dead-letter stream, for a reason that can be removed."""
    work.ask("PUT", f"/_data_stream/{work.index('alert')}")
    nested_limit(work, 1)
    report = (await work.collect("alert"))["alert"]
    assert report.dead > 10
    assert report.created > 0
    return report.dead


async def again(work: Job, *names: str) -> dict[str, ReplayReport]:
    reports = await replay(work.settings(), work.tree, names or None)
    return {report.stream: report for report in reports}


async def test_what_was_refused_is_delivered_once_after_the_reason_is_removed(
    job: MakeJob,
) -> None:
    work = job(alerts=60)
    dead = await refused_alerts(work)
    (letter, *_) = work.documents("dead_letter")
    assert letter["mde"]["dead_letter"]["attempts"] == 1

    (report,) = (await again(work)).values()
    assert (report.letters, report.refused, report.created) == (dead, dead, 0)
    assert "nested" in report.kept[0].reason
    assert {each["mde"]["dead_letter"]["attempts"] for each in work.documents("dead_letter")} == {2}

    nested_limit(work, None)
    (report,) = (await again(work, "alert")).values()
    assert (report.letters, report.created, report.refused) == (dead, dead, 0)
    assert (await work.compare("alert")).perfect
    assert work.documents("dead_letter") == []
    assert await again(work) == {}
    assert (await work.collect("alert"))["alert"].created == 0
    assert (await work.compare("alert")).perfect


async def test_a_replayed_document_is_the_one_that_was_refused(job: MakeJob) -> None:
    work = job(alerts=60)
    await work.collect("machine")
    await refused_alerts(work)
    nested_limit(work, None)
    await again(work)
    assert all(each["organization"]["name"] == "simulated" for each in work.documents("alert"))
    joined = [each for each in work.documents("alert") if "device" in each]
    assert any("machine" in each["mde"]["alert"] for each in joined)


async def test_a_replay_that_was_cut_off_between_record_and_letter(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job(alerts=60)
    dead = await refused_alerts(work)
    nested_limit(work, None)

    async def lost(*_: object) -> int:
        raise EngineUnavailableError("The engine is gone.")

    with monkeypatch.context() as patched:
        patched.setattr(replaying, "change", lost)
        with pytest.raises(EngineUnavailableError):
            await again(work)
    work.rollover("alert")
    work.rollover("dead_letter")
    (report,) = (await again(work)).values()
    assert report.letters == report.created + report.existing == dead
    assert report.existing > 0
    assert (await work.compare("alert")).perfect


async def test_a_line_that_is_no_record_is_named_and_stays(job: MakeJob) -> None:
    work = job(vulnerabilities=200, quirks=Quirks(bad_export_lines=2))
    await work.collect("vulnerability")
    for _ in range(2):
        (report,) = (await again(work)).values()
        assert (report.letters, report.not_replayable, report.created) == (2, 2, 0)
        assert len(report.kept) == 2
        assert "not a JSON object" in report.kept[0].reason
    assert len(work.documents("dead_letter")) == 2


async def test_only_the_tenant_and_the_streams_that_were_named(job: MakeJob) -> None:
    work = job(vulnerabilities=200, quirks=Quirks(bad_export_lines=1))
    await work.collect("vulnerability")
    (report,) = (await again(work, "alert")).values()
    assert (report.stream, report.letters) == ("alert", 0)
    other = work.settings().model_copy(
        update={
            "tenant": work.settings().tenant.model_copy(
                update={"id": "00000000-0000-4000-8000-000000000000"}
            )
        }
    )
    assert await replay(other, work.tree) == []
    with pytest.raises(ConfigurationError, match="'alarm'"):
        await again(work, "alarm")
