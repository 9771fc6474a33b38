"""The preview as one HTML file that needs nothing but a browser: no network, no other file."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt

from aquila_mde.dashboards.spec import Panel
from aquila_mde.preview.ask import EVERYTHING, Answers, Choice, Preview
from aquila_mde.preview.charts import content

Json = dict[str, Any]


def render(preview: Preview, *, now: datetime | None = None) -> str:
    """The page. ``now`` is the time that stands on it."""
    data = {
        "tenants": [[EVERYTHING, "All tenants"], *([one.id, one.label] for one in preview.tenants)],
        "dashboards": [_dashboard(answers, preview) for answers in preview.dashboards],
    }
    environment = Environment(undefined=StrictUndefined, autoescape=True)
    return environment.from_string(_asset("page.html.j2")).render(
        engine=preview.engine,
        made=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        style=_asset("page.css"),
        script=_asset("page.js"),
        charts=_in_script(_charts()),
        data=_in_script(json.dumps(data, ensure_ascii=False, separators=(",", ":"))),
        dashboards=data["dashboards"],
        tenants=data["tenants"],
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _charts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub lacks a default
    return bundle


def _in_script(text: str) -> str:
    """``text`` as it may stand inside a script element, whose end it must not contain."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", text, flags=re.IGNORECASE)


def _dashboard(answers: Answers, preview: Preview) -> Json:
    dashboard = answers.dashboard
    spec = dashboard.spec
    names = {one.name: one for one in (answer.dashboard for answer in preview.dashboards)}
    return {
        "name": dashboard.name,
        "title": spec.title,
        "question": spec.question,
        "last": _in_words(spec.last),
        "controls": [control.label for control in spec.controls[1:]],
        "subject": spec.subject.label if spec.subject is not None else None,
        "subjects": {tenant: found for tenant, found in answers.subjects.items() if found},
        "panels": [
            {
                "id": f"{dashboard.name}-{number}",
                "title": panel.title,
                "about": panel.about,
                "kind": panel.kind,
                "at": [panel.at.x, panel.at.y, panel.at.w, panel.at.h],
                "drill": panel.drill,
                "drill_title": names[panel.drill].spec.title if panel.drill else None,
                "shown": _shown(panel, answers),
            }
            for number, panel in enumerate(spec.panels)
        ],
    }


def _shown(panel: Panel, answers: Answers) -> Json:
    """What a panel shows, by tenant and subject."""
    if panel.kind == "markdown":
        html = MarkdownIt("js-default").render(panel.text or "")
        return {_key(choice): {"html": html} for choice in answers.rows}
    return {
        _key(choice): content(panel, answers.rows[choice][panel.title]) for choice in answers.rows
    }


def _key(choice: Choice) -> str:
    return f"{choice.tenant}|{choice.subject}"


def _in_words(span: str) -> str:
    units = {"h": "hours", "d": "days", "w": "weeks", "M": "months", "y": "years"}
    number, unit = re.fullmatch(r"(\d+)(\w)", span).groups()  # type: ignore[union-attr]
    return f"Last {number} {units[unit]}"
