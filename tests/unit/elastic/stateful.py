"""A stand-in for what cannot run here: Elasticsearch, and OpenSearch with its ISM plugin.

Keeps the objects that are put and gives them back the way the engine does, with its own
additions, so that an installation can be watched. It has no opinion on their content.
"""

from __future__ import annotations

import copy
from fnmatch import fnmatch
from typing import Any

from aiohttp import web
from tests.unit.elastic.scripted import GREETING, OPENSEARCH, Seen, Server, json, refusal


class StatefulEngine(Server):
    def __init__(self, flavour: str = "elasticsearch") -> None:
        super().__init__()
        self.greeting = GREETING if flavour == "elasticsearch" else OPENSEARCH
        self.objects: dict[str, dict[str, Any]] = {}
        self.data_streams: list[dict[str, Any]] = []
        self.mappings: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, web.Response] = {}
        self.transforms: dict[str, str] = {}
        """Their ids, each with its state."""

    @property
    def changes(self) -> list[str]:
        return [
            f"{seen.method} {seen.path}"
            for seen in self.seen
            if seen.method not in ("GET", "HEAD") and "_simulate" not in seen.path
        ]

    async def answer(self, seen: Seen) -> web.Response | None:
        key = f"{seen.method} {seen.path}"
        if key in self.refused:
            return self.refused[key]
        if seen.path == "":
            return json(self.greeting)
        if seen.path == "_cat/plugins":
            return json([{"component": "opensearch-index-management"}])
        if seen.path.startswith("_data_stream/"):
            return self._streams(seen)
        if "/_simulate/" in seen.path:
            return self._simulated(seen)
        if seen.path.startswith("_transform/"):
            return self._transform(seen)
        if seen.path.endswith(("/_mapping", "/_settings", "/_rollover")):
            return self._index(seen)
        if seen.method == "PUT":
            created = seen.path not in self.objects
            self.objects[seen.path] = seen.json
            return json({"acknowledged": True}, 201 if created else 200)
        if seen.path.endswith("/_count"):
            return json({"count": 1})
        if seen.method == "DELETE":
            self.mappings.pop(seen.path, None)
            self.objects.pop(seen.path, None)
            return json({"acknowledged": True})
        return self._get(seen.path)

    def _streams(self, seen: Seen) -> web.Response:
        pattern = seen.path.removeprefix("_data_stream/")
        if seen.method == "DELETE":
            gone = pattern.split(",")
            self.data_streams = [each for each in self.data_streams if each["name"] not in gone]
            return json({"acknowledged": True})
        prefix = pattern.rstrip("*")
        found = [each for each in self.data_streams if each["name"].startswith(prefix)]
        return json({"data_streams": found})

    def _transform(self, seen: Seen) -> web.Response:
        _, name, *action = seen.path.split("/")
        if seen.method == "GET":
            found = [each for each in self.transforms if fnmatch(each, name)]
            if not found and "*" not in name:
                return refusal(404, "resource_not_found_exception", f"no {name}")
            told = (
                [{"id": each, "state": self.transforms[each]} for each in found]
                if action
                else [{"id": each, **self.objects[f"_transform/{each}"]} for each in found]
            )
            return json({"count": len(found), "transforms": told})
        if seen.method == "PUT":
            if name in self.transforms:
                return refusal(400, "resource_already_exists_exception", f"{name} exists")
            self.transforms[name] = "stopped"
            self.objects[seen.path] = seen.json
        elif seen.method == "DELETE":
            if self.transforms.pop(name) != "stopped" and seen.query.get("force") != "true":
                return refusal(409, "status_exception", f"{name} is started")
            del self.objects[seen.path]
        elif action == ["_reset"]:
            self.mappings.pop(self.objects[f"_transform/{name}"]["dest"]["index"], None)
            self.transforms[name] = "stopped"
        else:
            self.transforms[name] = {"_start": "started", "_stop": "stopped"}[action[0]]
        return json({"acknowledged": True})

    def _simulated(self, seen: Seen) -> web.Response:
        name = seen.path.rpartition("/")[2]
        component = self.objects[f"_component_template/{name}@package"]
        return json({"template": copy.deepcopy(component["template"])})

    def _index(self, seen: Seen) -> web.Response:
        index, _, what = seen.path.partition("/")
        if seen.method == "GET" and index.startswith("security_solution-"):
            prefix = index.rstrip("*")
            found = {each: one for each, one in self.mappings.items() if each.startswith(prefix)}
            if not found and prefix == index:
                return refusal(404, "index_not_found_exception", f"no such index [{index}]")
            return json({each: {"mappings": one} for each, one in found.items()})
        if seen.method == "GET":
            return json({index: {"mappings": self.mappings.get(index, {})}})
        if what == "_mapping":
            self.mappings[index] = seen.json
        return json({"acknowledged": True})

    def _get(self, path: str) -> web.Response:
        kind, _, name = path.rpartition("/")
        if name.endswith("*"):
            names = {each.rpartition("/")[2]: body for each, body in self.objects.items()}
            return json({n: b for n, b in names.items() if n.startswith(name.rstrip("*"))})
        held = copy.deepcopy(self.objects.get(path))
        if held is None:
            return refusal(404, "resource_not_found_exception", f"no {path}")
        match kind:
            case "_ilm/policy":
                held["policy"]["phases"]["hot"]["min_age"] = "0ms"
                held["policy"]["phases"]["delete"]["actions"]["delete"] = {
                    "delete_searchable_snapshot": True
                }
                return json({name: {"version": 1, "modified_date": "x", **held}})
            case "_ingest/pipeline":
                dates = {"created_date_millis": 1} if self.greeting is GREETING else {}
                return json({name: held | dates})
            case "_component_template":
                settings = {"index": _as_text(held["template"].get("settings", {}))}
                held["template"]["settings"] = {"index": settings["index"].get("index", {})}
                return json({"component_templates": [{"name": name, "component_template": held}]})
            case "_index_template":
                held["data_stream"] = {"hidden": False, "allow_custom_routing": False}
                return json({"index_templates": [{"name": name, "index_template": held}]})
            case _:
                return json({"_id": name, "_seq_no": 7, "_primary_term": 2, **held})


def _as_text(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _as_text(value) for key, value in settings.items()}
    return str(settings).lower() if isinstance(settings, bool) else str(settings)
