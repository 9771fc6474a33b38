"""Everything that is looked at, in the order in which it is shown."""

from __future__ import annotations

from datetime import UTC, datetime

from aquila_mde.check.engine import check_engine
from aquila_mde.check.finding import Finding, Findings
from aquila_mde.check.kibana import check_kibana
from aquila_mde.check.tenant import check_tenant
from aquila_mde.collect.status import enabled_streams
from aquila_mde.settings import AllSettings, KibanaSettings
from aquila_mde.streams.tree import PackageTree


async def check(
    settings: AllSettings, kibana: KibanaSettings | None, tree: PackageTree
) -> list[Finding]:
    """Look at each tenant, each of its enabled streams, the engine and Kibana.

    Nothing is changed, and whatever cannot be reached is a finding, not an error. One call goes to
    every endpoint that a stream is read from.
    """
    found: list[Finding] = []
    for each in settings.each:
        findings = Findings(each.tenant.label if len(settings.each) > 1 else None)
        streams = enabled_streams(each, tree)
        await check_tenant(each, streams, findings, now=datetime.now(UTC))
        found += findings.all
    findings = Findings()
    await check_engine(settings, tree, findings)
    await check_kibana(kibana, tree, findings)
    return found + findings.all
