"""Everything that is looked at, in the order in which it is shown."""

from __future__ import annotations

from datetime import UTC, datetime

from aquila_mde.check.engine import check_engine
from aquila_mde.check.finding import Finding, Findings
from aquila_mde.check.kibana import check_kibana
from aquila_mde.check.tenant import check_tenant
from aquila_mde.collect.status import enabled_streams
from aquila_mde.settings import KibanaSettings, Settings
from aquila_mde.streams.tree import PackageTree


async def check(
    settings: Settings, kibana: KibanaSettings | None, tree: PackageTree
) -> list[Finding]:
    """Look at the tenant, each enabled stream, the engine and Kibana.

    Nothing is changed, and whatever cannot be reached is a finding, not an error. One call goes to
    every endpoint that a stream is read from.
    """
    findings = Findings()
    streams = enabled_streams(settings, tree)
    await check_tenant(settings, streams, findings, now=datetime.now(UTC))
    await check_engine(settings, tree, findings)
    await check_kibana(kibana, tree, findings)
    return findings.all
