"""The tenant itself: its records, and what happens to them while time passes.

Everything follows from the seed. Time is cut into minutes; what happens in a minute is drawn from
the seed and the number of the minute, so it is the same however the clock gets there.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from aquila_mde.simulator.catalogue import Catalogue, Family
from aquila_mde.simulator.changes import AT_MOST, Changes
from aquila_mde.simulator.clock import DAY, MINUTE, SECOND, Clock, duration, format_time, parse_time
from aquila_mde.simulator.collection import (
    ACTIONS,
    ALERTS,
    MACHINES,
    VULNERABILITIES,
    Collection,
)
from aquila_mde.simulator.export_files import PERIOD, VulnerabilityExport
from aquila_mde.simulator.quirks import Quirks
from aquila_mde.simulator.records_action import action
from aquila_mde.simulator.records_alert import alert, update
from aquila_mde.simulator.records_machine import (
    Device,
    machine,
    next_assessment,
    next_report,
)
from aquila_mde.simulator.seeds import guid_of, random_of

HISTORY = 30 * DAY
"""How far back alerts and actions reach at the start."""
_SLOT = MINUTE
_SLOTS_A_DAY = DAY // _SLOT
_RECENT = 500
"""Of so many alerts one is updated next."""


class Tenant:
    """Alerts, machines, machine actions, the CVE catalogue and the vulnerability export."""

    def __init__(
        self,
        *,
        machines: int,
        alerts: int,
        actions: int,
        vulnerabilities: int,
        seed: int,
        activity: float,
        rows_per_file: int,
        clock: Clock,
        quirks: Quirks,
        folder: Path,
    ) -> None:
        rng = random_of(seed, "identity", 0)
        self.tenant_id, self.client_id = guid_of(rng), guid_of(rng)
        self.seed, self.clock, self.quirks = seed, clock, quirks
        self.activity = activity
        self.lock = threading.RLock()
        """Held while the state is read or changed."""
        self._devices: list[Device] = []
        self.machines = Collection(MACHINES)
        self.alerts = Collection(ALERTS)
        self.actions = Collection(ACTIONS)
        self.start = clock.now()
        self._settled = self.start // _SLOT
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._numbers = {"machine": machines, "alert": alerts, "action": actions}
        self._sizes = (machines, alerts, actions)
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._age = 0

        for index in range(machines):
            values, device = machine(seed, index, self.start)
            self.machines.put(values)
            self._devices.append(device)
        self._families = {device.id: device.family for device in self._devices}
        for index in range(alerts):
            self._past_alert(index)
        for index in range(actions):
            created = self.start - random_of(seed, "past", index).randrange(HISTORY)
            self._new_action(index, created)
        self._run_due(self.start)

        rows = vulnerabilities if machines else 0
        self._catalogue = Catalogue(seed, -(-rows // max(1, machines)), self.start)
        self._vulnerabilities: Collection | None = None
        self.export = VulnerabilityExport(
            rows=rows,
            seed=seed,
            catalogue=self._catalogue,
            rows_per_file=rows_per_file,
            folder=folder,
            tenant_id=self.tenant_id,
        )
        self._snapshot(self.start // PERIOD * PERIOD)

    @property
    def vulnerabilities(self) -> Collection:
        """The CVE catalogue of the tenant, made when it is first asked for."""
        if self._vulnerabilities is None:
            described = self._catalogue.vulnerabilities(len(self._devices))
            self._vulnerabilities = Collection(VULNERABILITIES, described)
        return self._vulnerabilities

    @property
    def devices(self) -> list[Device]:
        """The machines as other records speak of them."""
        return list(self._devices)

    @property
    def changes(self) -> Changes:
        """What has changed from one vulnerability export to the next."""
        return self.export.changes

    def settle(self) -> None:
        """Let everything happen that was to happen until now."""
        now = self.clock.now()
        slot = now // _SLOT
        boundary = now // PERIOD * PERIOD
        while self._settled < slot:
            end = (self._settled + 1) * _SLOT
            self._run_due(end)
            if self.activity:
                self._minute(self._settled, end)
            self._settled += 1
            if end % PERIOD == 0:
                self._age += 1
                # Snapshots that nobody can see any more, not even what changed with them, are
                # not taken.
                if end >= boundary - AT_MOST - PERIOD:
                    self._snapshot(end)
        self._run_due(now)

    def schedule(self, at: int, what: Callable[[], None]) -> None:
        """Let ``what`` happen at ``at``."""
        self._sequence += 1
        heapq.heappush(self._due, (at, self._sequence, what))

    def empty_export(self, folder: Path, label: str) -> VulnerabilityExport:
        """An export without rows, for objects that are given."""
        return VulnerabilityExport(
            rows=0,
            seed=self.seed,
            catalogue=self._catalogue,
            rows_per_file=1,
            folder=folder,
            tenant_id=self.tenant_id,
            label=label,
        )

    def regenerate_export(self) -> None:
        """Rebuild the export now, which the service does only every six hours."""
        self._age += 1
        # The service tells whole seconds; two rebuilds in the same one are told apart all the same.
        now = self.clock.now() // SECOND * SECOND
        self._snapshot(max(now, self.export.current.generated + SECOND))

    def new_machine(self) -> dict[str, Any]:
        """A machine that was not there before; it is not added."""
        values, _ = machine(self.seed, self._number("machine"), self.clock.now())
        return values

    def new_alert(self) -> dict[str, Any]:
        """An alert that was not there before; it is not added."""
        now = self.clock.now()
        return alert(self.seed, self._number("alert"), now, self.tenant_id, self._devices) | {
            "lastUpdateTime": format_time(now)
        }

    def new_action(self) -> dict[str, Any]:
        """A pending action that was not there before; it is not added and never goes on."""
        index = self._number("action")
        device = random_of(self.seed, "place", index).choice(self._devices or [_NOWHERE])
        return action(self.seed, index, self.clock.now(), device)[0]

    def updated_alert(self, key: str, at: int) -> dict[str, Any]:
        """The alert as it is after one more update at ``at``; it is not stored."""
        values = self._values(self.alerts, key)
        rng = random_of(self.seed, "update", at ^ len(values["comments"] or ()))
        return values | update(rng, values, at, self._family(values))

    def show_alert(self, values: Mapping[str, Any]) -> None:
        """Let a version of an alert become visible, unless a newer one is already."""
        held = self.alerts.get(values["id"])
        if held is None:
            self._recent.append(values["id"])
        elif held.columns["lastUpdateTime"] >= parse_time(values["lastUpdateTime"]):
            return
        self.alerts.put(values)

    def _values(self, collection: Collection, key: str) -> dict[str, Any]:
        record = collection.get(key)
        if record is None:
            raise KeyError(key)
        return record.values()

    def _number(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind] - 1

    def _snapshot(self, generated: int) -> None:
        bodies: list[bytes | None] = []
        for device in self._devices:
            record = self.machines.get(device.id)
            bodies.append(record.body if record else None)
        self.export.take_snapshot(
            generated, self._age, bodies, self.quirks.export_casing, self.quirks.bad_export_lines
        )

    def _run_due(self, until: int) -> None:
        while self._due and self._due[0][0] <= until:
            heapq.heappop(self._due)[2]()

    def _past_alert(self, index: int) -> None:
        rng = random_of(self.seed, "past", index)
        created = self.start - rng.randrange(DAY // 1000, HISTORY)
        values = alert(self.seed, index, created, self.tenant_id, self._devices)
        at, family = parse_time(values["lastUpdateTime"]), self._family(values)
        for _ in range(rng.choices((0, 1, 2, 3), weights=(40, 30, 20, 10))[0]):
            later = at + rng.randrange(MINUTE, 20 * 60 * MINUTE)
            if later >= self.start:
                break
            values |= update(rng, values, later, family)
            at = later
        if index < self.quirks.equal_times:
            values["lastUpdateTime"] = format_time(self.start - DAY // 2)
        self._publish_alert(values, rng, self.start)

    def _publish_alert(self, values: dict[str, Any], rng: Random, until: int) -> None:
        visible = parse_time(values["lastUpdateTime"])
        if rng.random() < self.quirks.late_share:
            longest = max(MINUTE, duration(self.quirks.late_by))
            visible += rng.randrange(MINUTE // 2, longest)
        if visible <= until:
            self.show_alert(values)
        else:
            self.schedule(visible, lambda: self.show_alert(values))

    def _new_action(self, index: int, created: int) -> None:
        device = random_of(self.seed, "place", index).choice(self._devices or [_NOWHERE])
        values, steps = action(self.seed, index, created, device)
        key = values["id"]
        self.schedule(created, lambda: self._put_action(values))
        for at, changes in steps:
            self.schedule(at, lambda changes=changes: self._change_action(key, changes))  # type: ignore[misc]

    def _put_action(self, values: Mapping[str, Any]) -> None:
        self.actions.put(values)

    def _change_action(self, key: str, changes: Mapping[str, Any]) -> None:
        if key in self.actions:
            self.actions.change(key, changes)

    def _minute(self, slot: int, end: int) -> None:
        rng = random_of(self.seed, "slot", slot)
        machines, alerts, actions = (size * self.activity for size in self._sizes)
        self._reports(rng, slot, end)
        for _ in range(_how_many(rng, machines / (4 * _SLOTS_A_DAY))):
            record = self.machines.get(rng.choice(self._devices).id)
            if record is not None:
                self.machines.change(record.id, next_assessment(rng, record.values()))
        for _ in range(_how_many(rng, alerts * _SLOT / HISTORY)):
            at = end - rng.randrange(_SLOT)
            values = alert(self.seed, self._number("alert"), at, self.tenant_id, self._devices)
            self._publish_alert(values, rng, end)
        for _ in range(_how_many(rng, 2 * alerts * _SLOT / HISTORY)):
            key = rng.choice(self._recent) if self._recent else ""
            if key in self.alerts:
                values = self._values(self.alerts, key)
                at = end - rng.randrange(_SLOT)
                if at > parse_time(values["lastUpdateTime"]):
                    changes = update(rng, values, at, self._family(values))
                    self._publish_alert(values | changes, rng, end)
        for _ in range(_how_many(rng, actions * _SLOT / HISTORY)):
            self._new_action(self._number("action"), end - rng.randrange(_SLOT))
        self._run_due(end)

    def _reports(self, rng: Random, slot: int, end: int) -> None:
        # Each machine reports once a day, at its minute.
        for number in range(slot % _SLOTS_A_DAY, len(self._devices), _SLOTS_A_DAY):
            record = self.machines.get(self._devices[number].id)
            if record is not None and record.columns["healthStatus"] != "Inactive":
                at = end - rng.randrange(_SLOT)
                if at > record.columns["lastSeen"]:
                    self.machines.change(record.id, next_report(rng, at))

    def _family(self, values: Mapping[str, Any]) -> Family:
        return self._families.get(values["machineId"], "windows")


_NOWHERE = Device("0" * 40, None, "windows", "None", "")


def _how_many(rng: Random, mean: float) -> int:
    whole = int(mean)
    return whole + (rng.random() < mean - whole)
