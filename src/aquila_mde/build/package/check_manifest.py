"""manifest.yml and changelog.yml."""

from __future__ import annotations

import re
from typing import Any

from aquila_mde.build.package.findings import Finding, Found, Severity
from aquila_mde.build.package.known import known
from aquila_mde.build.package.reading import PackageFiles, found_at, mapping, members, part, texts
from aquila_mde.streams.yaml_source import Location, YamlSource

_REQUIRED = ("format_version", "name", "title", "description", "version", "type", "owner")
_KNOWN = {
    *_REQUIRED,
    *("agent", "categories", "conditions", "deprecated", "elasticsearch", "icons"),
    *("policy_templates", "policy_templates_behavior", "requires", "screenshots", "source"),
    *("var_groups", "vars"),
}
_CATEGORIES = known("categories")
_LISTS = ("categories", "icons", "screenshots", "policy_templates", "vars")
_MAPPINGS = ("conditions", "source", "owner", "elasticsearch")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.]+))?")
_PRERELEASE = re.compile(r"next|SNAPSHOT|(beta|rc|preview)\d+")
_KIBANA = re.compile(r"\^\d+\.\d+\.\d+(\s*\|\|\s*\^\d+\.\d+\.\d+)*")
_SECRET = re.compile(r"(?i)(access_key|api_key|passphrase|password|secret|token)(?!.*_(file|url)$)")
_FOR_8 = (3, 4)
"""The newest format that Kibana 8.19 accepts."""
_RELEASED = (3, 6)
_CHANGES = {"breaking-change", "bugfix", "enhancement"}
_GITHUB = re.compile(r"https://github\.com/.*?(\d+)?/?")


def check_manifest(package: PackageFiles) -> Found:
    """Every finding about the package's own manifest and its changelog."""
    source = package.yaml("manifest.yml")
    manifest = mapping(source)
    if source is None:
        return
    for key in _REQUIRED:
        if manifest.get(key) in (None, ""):
            yield found_at(source, (), "missing-key", f"{key} is missing")
    for key in manifest:
        if key not in _KNOWN:
            yield found_at(source, (key,), "unknown-key", f"{key} is not a key of a manifest")
    yield from _values(source, manifest)
    yield from _versions(source, manifest)
    yield from _images(package, source, manifest)
    yield from check_vars(source, ("vars",), manifest.get("vars"))
    yield from _shapes(source, manifest)
    for number, template in members(manifest.get("policy_templates")):
        place: Location = ("policy_templates", number)
        for name in texts(template.get("data_streams")):
            if name not in package.streams():
                problem = f"there is no data stream {name}"
                yield found_at(source, (*place, "data_streams"), "unknown-stream", problem)
        yield from check_vars(source, (*place, "vars"), template.get("vars"))
        for position, one in members(template.get("inputs")):
            yield from check_vars(source, (*place, "inputs", position, "vars"), one.get("vars"))
    yield from _changelog(package, str(manifest.get("version")))


def check_vars(source: YamlSource, place: Location, variables: Any) -> Found:
    """Whether each variable that looks like a secret says whether it is one."""
    for number, variable in members(variables):
        name = str(variable.get("name", ""))
        looks = variable.get("type") == "password" or _SECRET.search(name)
        if looks and not isinstance(variable.get("secret"), bool):
            problem = f"the variable {name} looks like a secret: say secret: true or false"
            yield found_at(source, (*place, number), "secret", problem)


def _shapes(source: YamlSource, manifest: dict[str, Any]) -> Found:
    for keys, kind, name in ((_LISTS, list, "a list"), (_MAPPINGS, dict, "a mapping")):
        for key in keys:
            if key in manifest and not isinstance(manifest[key], kind):
                yield found_at(source, (key,), "shape", f"{key} must be {name}")


def _values(source: YamlSource, manifest: dict[str, Any]) -> Found:
    if not re.fullmatch(r"[a-z0-9_]+", str(manifest.get("name", "x"))):
        problem = "name may hold a-z, 0-9 and _ only"
        yield found_at(source, ("name",), "package-name", problem)
    if manifest.get("type", "integration") != "integration":
        yield found_at(source, ("type",), "package-type", "type must be integration")
    for category in texts(manifest.get("categories")):
        if category not in _CATEGORIES:
            problem = f"{category} is no category that Elastic knows"
            yield found_at(source, ("categories",), "category", problem)
    licensed = part(manifest, "source").get("license", "Apache-2.0")
    if licensed not in ("Apache-2.0", "Elastic-2.0"):
        problem = f"the license {licensed} is not accepted; Apache-2.0 and Elastic-2.0 are"
        yield found_at(source, ("source", "license"), "license", problem)
    owner = part(manifest, "owner")
    if "owner" in manifest and (
        str(owner.get("github", "")).count("/") > 1
        or not owner.get("github")
        or owner.get("type") not in ("elastic", "partner", "community")
    ):
        problem = "owner needs github (a user, or a team as org/team) and type"
        yield found_at(source, ("owner",), "owner", problem)


def _versions(source: YamlSource, manifest: dict[str, Any]) -> Found:
    version = _VERSION.fullmatch(str(manifest.get("version", "0.0.0")))
    if version is None:
        yield found_at(source, ("version",), "version", "version must be like 1.2.3")
    elif version[4] and (version[1] == "0" or not _PRERELEASE.fullmatch(version[4])):
        problem = (
            "a version below 1.0.0 is a preview already and takes no tag"
            if version[1] == "0"
            else f"the tag {version[4]} is none of next, SNAPSHOT, betaN, rcN and previewN"
        )
        yield found_at(source, ("version",), "version", problem)
    kibana = part(manifest, "conditions", "kibana").get("version")
    if not _KIBANA.fullmatch(str(kibana)):
        problem = 'conditions.kibana.version must be like "^8.19.0 || ^9.1.0"'
        yield found_at(source, ("conditions", "kibana", "version"), "kibana-version", problem)
    spec = _VERSION.fullmatch(str(manifest.get("format_version", "3.0.0")))
    if spec is None:
        problem = "format_version must be like 3.4.2"
        yield found_at(source, ("format_version",), "format-version", problem)
        return
    line = (int(spec[1]), int(spec[2]))
    if line > _RELEASED and version is not None and version[1] != "0":
        problem = f"format {line[0]}.{line[1]} is not released; a package from 1.0.0 on may not ask"
        yield found_at(source, ("format_version",), "format-version", problem)
    elif line > _FOR_8 and "^8." in str(kibana):
        problem = f"Kibana 8.19 knows formats up to 3.4 only, and this is {line[0]}.{line[1]}"
        place = source.line(("format_version",))
        yield Finding("manifest.yml", place, "format-version", problem, Severity.WARNING)


def _images(package: PackageFiles, source: YamlSource, manifest: dict[str, Any]) -> Found:
    for kind in ("icons", "screenshots"):
        for number, image in members(manifest.get(kind)):
            path = str(image.get("src", ""))
            if not path.startswith("/img/") or path[1:] not in package.files:
                problem = f"{path or 'an image without src'} is not in the package"
                yield found_at(source, (kind, number, "src"), "missing-image", problem)


def _changelog(package: PackageFiles, version: str) -> Found:
    source = package.yaml("changelog.yml")
    if source is None:
        return
    entries = members(source.values)
    versions = [str(entry.get("version")) for _, entry in entries]
    newest = next((one for one in versions if not one.endswith("-next")), None)
    if newest != version:
        problem = f"begins with {newest}, and the manifest says {version}"
        yield found_at(source, (0, "version"), "changelog-version", problem)
    for number, one in enumerate(versions):
        before = versions[number - 1] if number else None
        if one in versions[:number]:
            yield found_at(source, (number,), "changelog-version", f"{one} is there twice")
        elif before is not None and _order(one) > _order(before):
            problem = f"{one} stands below {before}; the newest comes first"
            yield found_at(source, (number,), "changelog-version", problem)
    for number, entry in entries:
        for position, change in members(entry.get("changes")):
            place: Location = (number, "changes", position)
            if str(change.get("type")) not in _CHANGES:
                problem = f"the type of a change is one of {', '.join(sorted(_CHANGES))}"
                yield found_at(source, (*place, "type"), "changelog-change", problem)
            if not change.get("description"):
                yield found_at(source, place, "changelog-change", "has no description")
            link = _GITHUB.fullmatch(str(change.get("link", "")))
            if not change.get("link") or (link and not int(link[1] or 0)):
                problem = "needs a link, one to GitHub with the number of an issue or a change"
                yield found_at(source, (*place, "link"), "changelog-link", problem)


def _order(version: str) -> tuple[int, int, int, bool, str]:
    match = _VERSION.fullmatch(version)
    if match is None:
        return (0, 0, 0, False, version)
    return (int(match[1]), int(match[2]), int(match[3]), match[4] is None, match[4] or "")
