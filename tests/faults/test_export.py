"""The export of vulnerabilities: links that die, files that lie, snapshots that are replaced."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.parts import SIZES, MakeJob, all_is_there, one_pass, told
from tests.system.conftest import Job

from aquila_mde.errors import ExitCode
from aquila_mde.simulator.faults import Fault
from aquila_mde.simulator.quirks import Quirks

STREAM = "vulnerability"
EXPIRED = "<Error><Code>AuthenticationFailed</Code></Error>"


def exports_asked_for(work: Job) -> int:
    return sum(
        r.path.endswith("Export") and r.kind == "api" for r in work.simulator.control.requests
    )


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("file", "reset", when=2), Fault("file", "status", status=403, body=EXPIRED)],
        [Fault("file", "status", status=403, when=2, body=EXPIRED)],
        [Fault("file", "empty", when=2)],
        [Fault("file", "truncated", when=2)],
        [Fault("file", "short", when=2)],
        [Fault("file", "slow", when=2, seconds=0.2)],
        [Fault("file", "html", when=2)],
        [Fault("file", "status", status=404, when=2)],
    ],
    ids=[
        "a link that expires in mid-file",
        "an expired link",
        "200 and no byte",
        "a truncated gz",
        "a wrong length",
        "a slow body",
        "the page of a proxy",
        "a file that is gone",
    ],
)
async def test_one_pass_gets_over(job: MakeJob, faults: list[Fault]) -> None:
    work = job(**SIZES)
    work.simulator.control.set_faults(faults)
    report = (await work.collect(STREAM))[STREAM]
    assert work.simulator.control.faults_left == []
    assert (report.records, report.created, report.dead) == (400, 400, 0)
    await all_is_there(work, [STREAM])


@pytest.mark.parametrize("what", ["empty", "truncated", "short"])
async def test_a_file_that_stays_broken_is_an_error_and_the_rest_stays_delivered(
    job: MakeJob, what: Any
) -> None:
    work = job(**SIZES)
    control = work.simulator.control
    control.set_faults([Fault("file", what, when=2, times=500)])
    report = (await one_pass(work, STREAM))[STREAM]
    said = told(report, ExitCode.DEFENDER)
    assert "sig=" not in said
    assert report.created == 100
    control.set_faults([])
    again = (await work.collect(STREAM))[STREAM]
    # The first file is not read again.
    assert again.records == again.created == 300
    await all_is_there(work, [STREAM])


@pytest.mark.parametrize("bad", [1, 2])
async def test_bad_lines_become_dead_letters_and_every_other_line_a_document(
    job: MakeJob, bad: int
) -> None:
    work = job(**SIZES, quirks=Quirks(bad_export_lines=bad))
    report = (await work.collect(STREAM))[STREAM]
    assert (report.created, report.dead) == (400, bad)
    result = await work.compare(STREAM)
    assert (result.missing, result.duplicates, result.unknown, result.failed) == (0, 0, 0, bad)
    assert (await work.collect(STREAM))[STREAM].dead == 0


async def test_an_export_regenerated_while_it_is_read(job: MakeJob) -> None:
    work = job(**SIZES | {"vulnerabilities": 3_000, "rows_per_file": 300})
    control = work.simulator.control
    before = set(control.versions(STREAM))

    def regenerate() -> None:
        control.add_vulnerabilities([{}, {}])
        control.regenerate_export()
        # The links of the one before die, so that fresh ones are asked for.
        control.set_faults([Fault("file", "status", status=403, body=EXPIRED)])

    reports = await one_pass(work, STREAM, at_first=regenerate)
    assert reports[STREAM].error is None
    assert exports_asked_for(work) >= 2
    result = await work.compare(STREAM)
    assert (result.missing, result.unknown, result.failed) == (0, 0, 0)
    assert result.indexed <= len(before | set(control.versions(STREAM)))


@pytest.mark.parametrize("casing", ["pascal", "camel", "mixed"])
async def test_both_casings_are_the_same_rows(job: MakeJob, casing: Any) -> None:
    work = job(**SIZES, quirks=Quirks(export_casing=casing))
    assert (await work.collect(STREAM))[STREAM].created == 400
    await all_is_there(work, [STREAM])
    # The same rows spelled otherwise are no new ones.
    work.simulator.control.set_quirks(export_casing="camel" if casing == "pascal" else "pascal")
    work.simulator.control.regenerate_export()
    work.state.unlink()
    again = (await work.collect(STREAM))[STREAM]
    assert again.existing >= 380
    assert (await work.compare(STREAM)).missing == 0
