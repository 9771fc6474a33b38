"""The same mapping as one processor a field, the way packages are written by hand.

Only to compare with: the package is built with one script (see pipeline.py), and the benchmark of
the pipelines shows what that is worth. What a processor can do is done by one: rename, convert,
date, lowercase, gsub, set and append, with foreach for lists of objects. Each block, rule and
table, and each step that no processor has, is a small script of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from aquila_mde.build import ecs
from aquila_mde.build.library import Library
from aquila_mde.build.plan import Assignment, ListPlan, MappingPlan, RowPlan

Processor = dict[str, Any]

_ISO = ("ISO8601",)
_CONVERTED = {"whole": "long", "number": "double", "flag": "boolean", "ip": "ip"}
_SCRIPTED = ("jsonText", "techniques", "parameters")
_IN_PLACE: dict[str, tuple[Processor, ...]] = {
    "hash": ({"lowercase": {}},),
    "mac": (
        {"gsub": {"pattern": "[-:. ]", "replacement": ""}},
        {"gsub": {"pattern": "(..)(?!$)", "replacement": "$1-"}},
        {"uppercase": {}},
    ),
}
_CONDITIONS = {
    "other": "!{argument}.contains({value})",
    "realId": "!{value}.startsWith('00000000-0000-0000-0000-')",
    "prefixed": "{value}.startsWith({argument})",
}
_STEP = re.compile(r"^(\w+)\(v(?:, (.*))?\)$")
_TABLE = re.compile(r"params\.get\('(\w+)'\)")
_MERGE = """
Map all = child(ctx, 'related');
for (def kind : rel.keySet()) {
  for (def one : (Set) rel.get(kind)) include(all, (String) kind, one);
}"""
_DROP_EMPTY = """
boolean empty(def v) {
  if (v instanceof Map) {
    ((Map) v).values().removeIf(one -> empty(one));
    return ((Map) v).isEmpty();
  }
  if (v instanceof List) {
    ((List) v).removeIf(one -> empty(one));
    return ((List) v).isEmpty();
  }
  return v == null || v == '';
}
empty(ctx);"""


def per_field_pipeline(
    plan: MappingPlan, library: Library, *, dataset: str, module: str, times: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The body of a pipeline that does what ``plan`` says, field by field.

    ``times`` are the formats of the record's own times where they are not ISO 8601.
    """
    renderer = _Renderer(plan, library, times or _ISO)
    renderer.begin(dataset, module)
    renderer.rows((row for one in plan.sections for row in one.rows), ("json",))
    for join in plan.joins:
        rows = (row for one in join.sections for row in one.rows)
        renderer.rows(rows, ("mde", "join", join.name))
    renderer.end()
    return {
        "processors": renderer.processors,
        "on_failure": [
            {"set": {"field": "event.kind", "value": "pipeline_error"}},
            {"append": {"field": "error.message", "value": "{{{_ingest.on_failure_message}}}"}},
        ],
    }


class _Renderer:
    def __init__(self, plan: MappingPlan, library: Library, times: tuple[str, ...]) -> None:
        self._plan = plan
        self._times = times
        self._library = library
        self._own = ("mde", plan.stream)
        self._read: list[str] = []
        self._duplicates: list[str] = []
        self._located: str | None = None
        self.processors: list[Processor] = []

    def begin(self, dataset: str, module: str) -> None:
        """Parse the record and set what every document has."""
        spec = self._plan.spec
        original = {"field": "message", "target_field": "event.original", "ignore_missing": True}
        self._add("rename", **original, **{"if": "ctx.event?.original == null"})
        self._add("json", field="event.original", target_field="json")
        names = {"names": self._plan.params["names"]}
        self._script("clean(ctx.json, params.names); clean(ctx.mde.join, params.names);", names)
        for name, value in (
            ("event.module", module),
            ("event.dataset", dataset),
            ("event.provider", "defender_endpoint"),
            ("event.kind", spec.event.kind),
            ("event.category", list(spec.event.category)),
            ("event.type", list(spec.event.type)),
            ("event.ingested", "{{{_ingest.timestamp}}}"),
            ("ecs.version", ecs.VERSION),
            ("observer.vendor", "Microsoft"),
            ("observer.product", "Defender for Endpoint"),
            ("organization.id", "{{{mde.join.tenant.id}}}"),
            ("organization.name", "{{{mde.join.tenant.name}}}"),
            ("cloud.account.id", "{{{mde.join.tenant.id}}}"),
        ):
            self._add("set", field=name, value=value, ignore_empty_value=True)
        for tag in ("forwarded", f"aquila_mde-{self._plan.stream}"):
            self._add("append", field="tags", value=tag, allow_duplicates=False)
        for name in reversed(spec.timestamp):
            path = f"mde.{name}" if name.startswith("join.") else f"json.{name}"
            self._date(path, "@timestamp")

    def rows(self, rows: Iterator[RowPlan], place: tuple[str, ...]) -> None:
        """What becomes of each property of the object at ``place``."""
        for row in rows:
            if row.object:
                self.rows(iter(row.object), (*place, row.property))
            elif row.list:
                self._list(row, row.list, place)
            else:
                self._row(row, place)

    def end(self) -> None:
        """Run the rules, look the address up, and keep what is left."""
        for _, call in self._plan.rules:
            self._script(f"{call};", self._tables(call))
        spec = self._plan.spec
        if spec.portal:
            url = f"{{{{{{mde.join.tenant.portal}}}}}}/{spec.portal.page}/"
            url += f"{{{{{{{spec.portal.id}}}}}}}?tid={{{{{{mde.join.tenant.id}}}}}}"
            known = _there(tuple(spec.portal.id.split(".")))
            self._add("set", field="event.url", value=url, **{"if": f"{known} != null"})
        self._geo()
        self._add("remove", field=[*self._read, "mde.join"], ignore_missing=True)
        if self._duplicates:
            kept = "ctx.tags.contains('preserve_duplicate_custom_fields')"
            self._add("remove", field=self._duplicates, ignore_missing=True, **{"if": f"!({kept})"})
        kept = "ctx.tags.contains('preserve_original_event')"
        self._add("remove", field="event.original", ignore_missing=True, **{"if": f"!({kept})"})
        self._script(_DROP_EMPTY)
        self._add(
            "rename", field="json", target_field=f"{'.'.join(self._own)}.extra", ignore_missing=True
        )

    def _geo(self) -> None:
        for geo in self._plan.spec.geo if self._located else ():
            found = {"field": self._located, "ignore_missing": True, "ignore_failure": True}
            self._add("geoip", **found, target_field=geo.to)
            if geo.network is None:
                continue
            network = f"{'.'.join(self._own)}.{geo.network}"
            asn = {"database_file": "GeoLite2-ASN.mmdb", "properties": ["asn", "organization_name"]}
            self._add("geoip", **found, target_field=network, **asn)
            for old, new in (("asn", "number"), ("organization_name", "organization.name")):
                self._add(
                    "rename",
                    field=f"{network}.{old}",
                    target_field=f"{network}.{new}",
                    ignore_missing=True,
                )

    def _row(self, row: RowPlan, place: tuple[str, ...]) -> None:
        source = (*place, row.property)
        function = row.take.partition("(")[0]
        mine = next(
            (one for one in row.assignments if one.value == "v" and one.root == "own"), None
        )
        held = source if mine is None else (*self._own, *mine.path)
        self._take(function, source, held)
        if mine is not None and mine.duplicate:
            self._duplicates.append(".".join(held))
        for one in row.assignments:
            if one is not mine:
                self._assign(one, function, held)
        for kind, value in row.related:
            self._relate(kind, value, function, held)
        if row.block.startswith("locate("):
            self._located = ".".join(held)
        elif row.block:
            self._with_value(f"{row.block};", held)
        if row.table:
            puts = [_put(one.path, f"cell(c, {one.value})") for one in row.cells]
            self._with_value(" ".join([f"List c = cells({row.table}, v);", *puts]), held)

    def _take(self, function: str, source: tuple[str, ...], held: tuple[str, ...]) -> None:
        old, new = ".".join(source), ".".join(held)
        if function in _SCRIPTED:
            put = _put(held, f"{function}({_there(source[:-1])}, '{source[-1]}')")
            self._script(f"if ({_there(source)} != null) {put}")
        elif function == "date":
            self._read.append(old)
            self._date(old, new)
        elif function in _CONVERTED:
            self._read.append(old)
            kind = _CONVERTED[function]
            self._add("convert", field=old, target_field=new, type=kind, ignore_missing=True)
        elif old != new:
            self._add("rename", field=old, target_field=new, ignore_missing=True)
        for each in _IN_PLACE.get(function, ()):
            for name, options in each.items():
                self._add(name, field=new, ignore_missing=True, **options)

    def _assign(self, one: Assignment, function: str, held: tuple[str, ...]) -> None:
        target = (*self._own, *one.path) if one.root == "own" else one.path
        value, many = one.value, False
        if value.startswith("alone("):
            value, many = value.removeprefix("alone(").removesuffix(")"), True
        condition = self._condition(value, held)
        if many and condition is not None:
            self._append(".".join(target), held, condition)
        elif value == "v" and (function in _CONVERTED or function == "texts"):
            kind = _CONVERTED.get(function, "string")
            self._copy(held, target, kind, unless_set=one.unless_set)
        elif condition is not None or value == "first(v)":
            first = ".0" if value == "first(v)" else ""
            self._add(
                "set",
                field=".".join(target),
                value=f"{{{{{{{'.'.join(held)}{first}}}}}}}",
                ignore_empty_value=True,
                override=not one.unless_set,
                **({"if": condition} if condition and value != "v" else {}),
            )
        else:
            self._with_value(_put(target, value, unless_set=one.unless_set), held)

    def _copy(
        self, held: tuple[str, ...], target: tuple[str, ...], kind: str, *, unless_set: bool
    ) -> None:
        self._add(
            "convert",
            field=".".join(held),
            target_field=".".join(target),
            type=kind,
            ignore_missing=True,
            **({"if": f"{_there(target)} == null"} if unless_set else {}),
        )

    def _condition(self, value: str, held: tuple[str, ...]) -> str | None:
        """When the value goes to its target as it is; None when a step changes it."""
        there = f"{_there(held)} != null"
        if value == "v":
            return there
        step = _STEP.match(value)
        if step is None or step[1] not in _CONDITIONS:
            return None
        known = _CONDITIONS[step[1]].format(value=f"ctx.{'.'.join(held)}", argument=step[2])
        return f"{there} && {known}"

    def _relate(self, kind: str, value: str, function: str, held: tuple[str, ...]) -> None:
        name = ".".join(held)
        if function == "texts":
            inner = {"append": _appended(f"related.{kind}", "_ingest._value")}
            self._add("foreach", field=name, ignore_missing=True, processor=inner)
            return
        condition = self._condition(value, held) or f"{_there(held)} != null"
        self._append(f"related.{kind}", held, condition)

    def _append(self, field: str, held: tuple[str, ...], condition: str) -> None:
        self._add("append", **_appended(field, ".".join(held)), **{"if": condition})

    def _list(self, row: RowPlan, plan: ListPlan, place: tuple[str, ...]) -> None:
        source = (*place, row.property)
        mine = next((one for one in row.assignments if one.root == "own"), None)
        held = source if mine is None else (*self._own, *mine.path)
        if held != source:
            names = {"field": ".".join(source), "target_field": ".".join(held)}
            self._add("rename", **names, ignore_missing=True)
        if plan.scalar:
            parent, name = _there(held[:-1]), held[-1]
            self._script(f"if ({parent} != null) objects({parent}, '{name}', '{plan.scalar}');")
        self._members(plan.rows, held, ())
        if plan.each:
            self._each(held, f"{plan.each};")
        if row.block:
            self._with_value(f"{row.block};", held)

    def _members(
        self, rows: tuple[RowPlan, ...], held: tuple[str, ...], below: tuple[str, ...]
    ) -> None:
        """What becomes of each property of the objects in the list ``held``.

        Times stay as they are: the mapping reads them.
        """
        for row in rows:
            if row.object:
                self._members(row.object, held, (*below, row.property))
                continue
            function = row.take.partition("(")[0]
            target = row.assignments[0].path if row.assignments else (*below, row.property)
            if function in _SCRIPTED:
                put = f"put(n, {_quoted(target)}{function}((Map) p, '{row.property}'))"
                each = f"def p = {'?.'.join(('n', *below))}; if (p instanceof Map) {put};"
                self._each(held, each)
                continue
            old = ".".join(("_ingest._value", *below, row.property))
            new = ".".join(("_ingest._value", *target))
            steps: list[Processor] = []
            if new != old:
                steps.append({"rename": {"field": old, "target_field": new}})
            if function in _CONVERTED:
                steps.append({"convert": {"field": new, "type": _CONVERTED[function]}})
            for one in _IN_PLACE.get(function, ()):
                steps += [{name: {"field": new, **options}} for name, options in one.items()]
            for step in steps:
                next(iter(step.values()))["ignore_missing"] = True
            related = [{"append": _appended(f"related.{kind}", new)} for kind, _ in row.related]
            for step in [*steps, *related]:
                self._add("foreach", field=".".join(held), ignore_missing=True, processor=step)

    def _each(self, held: tuple[str, ...], code: str) -> None:
        loop = f"for (def n : (List) {_there(held)}) {{ {code} }}"
        self._script(f"if ({_there(held)} instanceof List) {{ {loop} }}")

    def _date(self, old: str, new: str) -> None:
        self._add(
            "date",
            field=old,
            target_field=new,
            formats=list(_ISO if old.startswith("mde.") else self._times),
            **{"if": f"{_there(tuple(old.split('.')))} != null"},
        )

    def _with_value(self, call: str, held: tuple[str, ...]) -> None:
        code = f"def v = {_there(held)};\nif (v != null) {{\n  {call}\n}}"
        self._script(code, self._tables(call))

    def _script(self, code: str, params: dict[str, Any] | None = None) -> None:
        words = set(re.findall(r"\b(own|rel|join)\b", code))
        head = ""
        if "own" in words:
            head += f"Map own = child(child(ctx, 'mde'), '{self._plan.stream}');\n"
        if "join" in words:
            head += "Map join = child(child(ctx, 'mde'), 'join');\n"
        if "rel" in words:
            head += "Map rel = new HashMap();\n"
            code += _MERGE
        code = head + code
        functions = [one.text for one in self._library.needed(code)]
        source = "\n\n".join([*functions, code.strip()])
        self._add("script", lang="painless", source=source, params=params or {})

    def _tables(self, call: str) -> dict[str, Any]:
        text = "".join([call, *(one.text for one in self._library.needed(call))])
        if "params" not in call:
            return {}
        named = {name for name in self._plan.params if f"'{name}'" in text}
        return {name: self._plan.params[name] for name in sorted(named | set(_TABLE.findall(call)))}

    def _add(self, kind: str, **options: Any) -> None:
        self.processors.append({kind: {"tag": f"{kind}_{len(self.processors)}", **options}})


def _appended(field: str, source: str) -> dict[str, Any]:
    return {"field": field, "value": f"{{{{{{{source}}}}}}}", "allow_duplicates": False}


def _there(path: tuple[str, ...]) -> str:
    """The value at ``path`` in Painless, null where any part of it is missing."""
    return "ctx." + "?.".join(path)


def _put(path: tuple[str, ...], value: str, *, unless_set: bool = False) -> str:
    parent = "ctx"
    for step in path[:-1]:
        parent = f"child({parent}, '{step}')"
    return f"{'fill' if unless_set else 'put'}({parent}, '{path[-1]}', {value});"


def _quoted(path: tuple[str, ...]) -> str:
    return "".join(f"'{step}', " for step in path)
