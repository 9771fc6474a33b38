"""The strings behind the tenant: its clock, its records, what breaks, and the truth about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aquila_mde.simulator.api import Api
from aquila_mde.simulator.changes import Changes
from aquila_mde.simulator.clock import SECOND, duration, format_time, parse_time, to_datetime
from aquila_mde.simulator.collection import Collection, Record
from aquila_mde.simulator.endpoints import Endpoint, Source
from aquila_mde.simulator.export_files import VulnerabilityExport
from aquila_mde.simulator.faults import Fault, FaultPlan, FaultPlayer
from aquila_mde.simulator.frontend import LoggedRequest, RequestLog
from aquila_mde.simulator.graph_control import GraphControl
from aquila_mde.simulator.graph_directory import Directory
from aquila_mde.simulator.graph_operators import Operators
from aquila_mde.simulator.hunting_http import HuntingHttp
from aquila_mde.simulator.quotas import Quotas
from aquila_mde.simulator.records_action import next_step
from aquila_mde.simulator.seeds import guid_of, hex_of, random_of
from aquila_mde.simulator.sign_in import SignIn
from aquila_mde.simulator.tenant import Tenant
from aquila_mde.simulator.truth import VersionKey, entity_key, version_key
from aquila_mde.streams.stream import Stream

Values = Mapping[str, Any]


class Control(GraphControl):
    """What a test, or somebody who rehearses, may do to the tenant.

    Records are told by the name of their stream and their id. Every method may be called from any
    thread while the tenant answers.
    """

    def __init__(
        self,
        *,
        tenant: Tenant,
        sign_in: SignIn,
        quotas: Quotas,
        endpoints: Mapping[str, Endpoint],
        api: Api,
        faults: FaultPlayer,
        requests: RequestLog,
        directory: Directory,
        operators: Operators,
        hunting: HuntingHttp,
    ) -> None:
        super().__init__(directory, operators, sign_in)
        self._hunting = hunting
        self._tenant = tenant
        self._quotas = quotas
        self._endpoints = endpoints
        self._api = api
        self._faults = faults
        self._requests = requests
        self.faults_played = faults.played
        self._added = 0

    # Time

    @property
    def now(self) -> datetime:
        """The tenant's time."""
        return to_datetime(self._tenant.clock.now())

    def advance(self, span: timedelta) -> None:
        """Move the clock, and let happen what happens in that time."""
        with self._tenant.lock:
            self._tenant.clock.advance(span)
            self._tenant.settle()

    # Records

    def add_alerts(
        self, overrides: Iterable[Values], *, visible_after: timedelta | None = None
    ) -> list[str]:
        """Add an alert for each of the given properties; they may be empty. Their ids.

        ``visible_after`` keeps them back for so long: rows that come late.
        """
        with self._tenant.lock:
            self._tenant.settle()
            at = self._tenant.clock.now() + duration(visible_after or timedelta(0))
            ids = []
            for values in overrides:
                alert = self._tenant.new_alert() | dict(values)
                ids.append(str(alert["id"]))
                self._tenant.schedule(at, partial(self._tenant.show_alert, alert))
            self._tenant.settle()
            return ids

    def add_machines(self, overrides: Iterable[Values]) -> list[str]:
        """Add a machine for each of the given properties. Their ids."""
        return self._add(self._tenant.machines, self._tenant.new_machine, overrides)

    def add_actions(self, overrides: Iterable[Values]) -> list[str]:
        """Add a machine action for each of the given properties. Their ids."""
        return self._add(self._tenant.actions, self._tenant.new_action, overrides)

    def add_vulnerabilities(self, overrides: Iterable[Values]) -> list[str]:
        """Add export rows, which the next snapshot holds. Their ids."""
        with self._tenant.lock:
            rows = [self._new_row() | dict(values) for values in overrides]
            for row in rows:
                self._tenant.export.added[f"{row['id']}\0{row.get('rbacGroupId')}"] = row
            return [row["id"] for row in rows]

    def upgrade_software(self, key: str, version: str) -> str:
        """Replace a row of the export by the one of a newer version of its software; the new id.

        As in the service the one is Fixed and the other New with the next snapshot, and what was
        first seen when stays.
        """
        with self._tenant.lock:
            self._tenant.settle()
            old = self.record("vulnerability", key)
            new_id = f"{old['deviceId']}_{old['softwareName']}_{version}_{old.get('cveId') or ''}_"
            self._tenant.export.removed.add(key)
            self.add_vulnerabilities([{**old, "id": new_id, "softwareVersion": version}])
            return new_id

    def update_alert(
        self, key: str, changes: Values | None = None, *, move_time: bool = True
    ) -> dict[str, Any]:
        """Change an alert and move its lastUpdateTime; without ``changes`` as an analyst might.

        ``move_time=False`` leaves the time as it was, which the service does now and then.
        """
        with self._tenant.lock:
            held = self._record(self._tenant.alerts, key)
            at = max(self._tenant.clock.now(), held.columns["lastUpdateTime"] + 1)
            if changes is None:
                changed = self._tenant.updated_alert(key, at)
            else:
                changed = {**held.values(), "lastUpdateTime": format_time(at), **changes}
            if not move_time:
                changed["lastUpdateTime"] = format_time(held.columns["lastUpdateTime"])
            return self._tenant.alerts.put(changed).values()

    def update_machine(self, key: str, changes: Values) -> dict[str, Any]:
        """Change properties of a machine, and no other."""
        with self._tenant.lock:
            self._record(self._tenant.machines, key)
            return self._tenant.machines.change(key, changes).values()

    def update_action(
        self, key: str, changes: Values | None = None, *, move_time: bool = True
    ) -> dict[str, Any]:
        """Change an action and move its update time; without ``changes`` one status further."""
        with self._tenant.lock:
            held = self._record(self._tenant.actions, key)
            at = max(self._tenant.clock.now(), held.columns["lastUpdateDateTimeUtc"] + 1)
            moved = format_time(at if move_time else held.columns["lastUpdateDateTimeUtc"])
            step = next_step(held.values(), at) if changes is None else dict(changes)
            if changes is None or "lastUpdateDateTimeUtc" not in changes:
                step["lastUpdateDateTimeUtc"] = moved
            return self._tenant.actions.change(key, step).values()

    def remove(self, stream: str, key: str) -> None:
        """Take a record away; a row of the export is missing from the next snapshot on."""
        with self._tenant.lock:
            source = self._source(stream)
            if isinstance(source, VulnerabilityExport):
                source.removed.add(key)
            else:
                self._record(source, key)
                source.remove(key)

    def ids(self, stream: str) -> list[str]:
        """The ids of what can be read now, in the order in which the tenant has them."""
        with self._tenant.lock:
            self._tenant.settle()
            source = self._source(stream)
            if isinstance(source, VulnerabilityExport):
                return [str(row.get("id")) for row in source.rows()]
            return source.ids()

    def record(self, stream: str, key: str) -> dict[str, Any]:
        """One record as objects."""
        with self._tenant.lock:
            self._tenant.settle()
            source = self._source(stream)
            if isinstance(source, VulnerabilityExport):
                found = next((row for row in source.rows() if row.get("id") == key), None)
                if found is None:
                    raise KeyError(f"no row {key} in the export")
                return found
            return self._record(source, key).values()

    def poison(self, key: str, *, healed: bool = False) -> None:
        """Make the evidence of an alert unreadable, each page that expands it a 500; or heal it."""
        (self._api.poisoned.discard if healed else self._api.poisoned.add)(key)

    def regenerate_export(self) -> None:
        """Rebuild the vulnerability export now."""
        with self._tenant.lock:
            self._tenant.settle()
            self._tenant.regenerate_export()

    def set_quirks(self, **changes: Any) -> None:
        """Change habits of the service, by the names in :class:`~quirks.Quirks`."""
        self._tenant.quirks = dataclasses.replace(self._tenant.quirks, **changes)

    # Truth

    def truth(self, stream: str | None = None) -> dict[str, Any]:
        """What the index must hold when everything that can be read now was collected.

        Without ``stream``, for each stream the number of entities and of versions; with it, the
        number of entities and the key of each version.
        """
        with self._tenant.lock:
            self._tenant.settle()
            if stream is None:
                return {name: self._count(name) for name in self._streams()}
            spec = self._streams()[stream].collect
            keys, entities = [], set()
            for record, generated in self._records(stream):
                keys.append(version_key(spec, record, generated))
                entities.add(entity_key(spec, record))
            return {"entities": len(entities), "versions": keys}

    def versions(self, stream: str) -> Iterator[VersionKey]:
        """The key of each version of ``stream``, one by one: for streams too long for a list."""
        spec = self._streams()[stream].collect
        for record, generated in self._records(stream):
            yield version_key(spec, record, generated)

    def records(self, stream: str) -> Iterator[dict[str, Any]]:
        """Each record of ``stream`` that can be read now, as objects."""
        for record, _ in self._records(stream):
            yield record

    def changes(self, since: str, stream: str = "vulnerability") -> list[dict[str, Any]]:
        """The changes that :meth:`delta_versions` tells the versions of."""
        with self._tenant.lock:
            self._tenant.settle()
            spec = self._streams()[stream].collect
            source = self._behind(spec.delta.endpoint.path) if spec.delta else None
            if not isinstance(source, Changes):
                raise KeyError(f"{stream} has no changes")
            return list(source.since(parse_time(since)))

    def delta_versions(self, since: str, stream: str = "vulnerability") -> list[VersionKey]:
        """The key of each change that is told to who asks for those since ``since``.

        With the versions of an export, those since its ``generatedTime`` are what the index must
        hold, whenever and however often they were asked for. None is forgotten within 14 days.
        """
        spec = self._streams()[stream].collect.for_changes()
        return [version_key(spec, row) for row in self.changes(since, stream)]

    def hunt(self, query: str, *, graph: bool = False) -> list[dict[str, Any]]:
        """Every row of the answer to a hunting query, whatever the limits of the service."""
        found, _ = self._hunting.run(query, graph=graph)
        return found.rows

    # Faults and sign-in

    @property
    def requests(self) -> list[LoggedRequest]:
        """The latest requests, oldest first; those to the control endpoints are not counted."""
        return self._requests.all()

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._requests.clear()

    def set_faults(self, faults: FaultPlan | Iterable[Fault]) -> None:
        """Start a plan of faults in place of the one before."""
        self._faults.play(FaultPlan.of(faults))

    @property
    def faults_left(self) -> list[Fault]:
        """The faults of the plan that can still hit."""
        return self._faults.left()

    def set_quota(self, path: str, per_minute: int, per_hour: int) -> None:
        """Change the quota of an endpoint, before the scale factor."""
        self._quotas.declare(self._endpoints[path.lower()].path, per_minute, per_hour)

    def exhaust_quota(self, path: str) -> None:
        """Use up the hour's calls of an endpoint."""
        endpoint = self._endpoints[path.lower()]
        self._quotas.exhaust(endpoint.path, self._sign_in.application.client_id)

    def expire_secret(self) -> None:
        """Let every client secret have expired; tokens that were given stay valid."""
        past = self._tenant.clock.now() - SECOND
        held = self._sign_in.application.secrets
        self._sign_in.application.secrets = dict.fromkeys(held, past)

    def new_secret(self, *, valid_for: timedelta | None = None) -> str:
        """Add a client secret to the application."""
        self._added += 1
        secret = f"new8Q~{hex_of(random_of(self._tenant.seed, 'identity', 100 + self._added), 34)}"
        now = self._tenant.clock.now()
        expires = None if valid_for is None else now + duration(valid_for)
        self._sign_in.application.secrets = {**self._sign_in.application.secrets, secret: expires}
        return secret

    def _streams(self) -> dict[str, Stream]:
        found = [endpoint.stream for endpoint in self._endpoints.values()]
        return {stream.name: stream for stream in found if stream is not None}

    def _source(self, stream: str) -> Collection | VulnerabilityExport:
        found = self._behind(self._streams()[stream].collect.endpoint.path)
        if isinstance(found, Changes):
            raise TypeError(f"the stream {stream} reads nothing but changes")
        return found

    def _behind(self, path: str) -> Source:
        return self._endpoints[path.lower()].records(self._tenant)

    def _records(self, stream: str) -> Iterator[tuple[dict[str, Any], int | None]]:
        source = self._source(stream)
        if isinstance(source, VulnerabilityExport):
            snapshot = source.current
            for row in source.rows(snapshot):
                yield row, snapshot.generated
        else:
            for record in source:
                yield record.values(), None

    def _count(self, stream: str) -> dict[str, int]:
        # Of generated records each is one version of one entity; of given ones, who knows.
        source = self._source(stream)
        if isinstance(source, VulnerabilityExport) and not source.current.added:
            rows = source.count()
            return {"entities": rows, "versions": rows}
        if isinstance(source, Collection):
            return {"entities": len(source), "versions": len(source)}
        spec = self._streams()[stream].collect
        keys = {version_key(spec, row, generated) for row, generated in self._records(stream)}
        return {
            "entities": len({entity_key(spec, row) for row, _ in self._records(stream)}),
            "versions": len(keys),
        }

    def _record(self, collection: Collection, key: str) -> Record:
        record = collection.get(key)
        if record is None:
            raise KeyError(f"no record {key} among the {collection.entity.name}")
        return record

    def _add(
        self,
        collection: Collection,
        make: Callable[[], dict[str, Any]],
        overrides: Iterable[Values],
    ) -> list[str]:
        with self._tenant.lock:
            self._tenant.settle()
            return [collection.put(make() | dict(values)).id for values in overrides]

    def _new_row(self) -> dict[str, Any]:
        self._added += 1
        rng = random_of(self._tenant.seed, "identity", 1000 + self._added)
        device = hex_of(rng, 40)
        return {
            "id": f"{device}_tool_1.0.{self._added}_CVE-2025-{200_000 + self._added}_",
            "deviceId": device,
            "deviceName": f"added-{self._added}.corp.contoso.com",
            "osPlatform": "Windows11",
            "osVersion": "10.0.22631.4460",
            "osArchitecture": "x64",
            "rbacGroupId": 140,
            "rbacGroupName": "Workstations",
            "softwareVendor": "contoso",
            "softwareName": "tool",
            "softwareVersion": f"1.0.{self._added}",
            "cveId": f"CVE-2025-{200_000 + self._added}",
            "cvssScore": 7.5,
            "vulnerabilitySeverityLevel": "High",
            "exploitabilityLevel": "NoExploit",
            "diskPaths": [],
            "registryPaths": [],
            "firstSeenTimestamp": "2026-01-05 10:13:34.8476880",
            "lastSeenTimestamp": "2026-03-01 14:17:26",
            "recommendationReference": "va-_-contoso-_-tool",
            "recommendedSecurityUpdate": guid_of(rng)[:8],
            "securityUpdateAvailable": True,
        }
