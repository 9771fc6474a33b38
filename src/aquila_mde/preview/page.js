/* Shows one dashboard at a time, for the tenant and the subject that are chosen. */
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const tenant = $("tenant");
  const subject = $("subject");
  const narrow = window.matchMedia("(max-width: 800px)");
  let drawn = 0;
  let views = [];

  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  };

  const chosen = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    return DATA.dashboards.find((one) => one.name === name) || DATA.dashboards[0];
  };

  const setTheme = (name) => {
    root.dataset.theme = name;
    $("theme").textContent = name === "dark" ? "Light" : "Dark";
  };

  /* Below the chart where it is narrow, in as many columns as the names leave room for. */
  const legend = (spec, width) => {
    if (width >= 420) return { orient: "right", columns: 1 };
    const named = [spec, ...(spec.layer || [])].map((one) => one.encoding && one.encoding.color);
    const names = (named.find((one) => one && one.scale && one.scale.domain) || { scale: { domain: [""] } }).scale.domain;
    const longest = Math.max(...names.map((name) => String(name).length)) * 7 + 34;
    const columns = Math.max(1, Math.min(3, Math.floor(width / longest)));
    return { orient: "bottom", columns, labelLimit: Math.floor(width / columns) - 30 };
  };

  const chartConfig = (spec, width) => {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      view: { stroke: null },
      axis: {
        labelColor: colour("--quiet"), labelFontSize: 12, domainColor: colour("--edge"),
        gridColor: colour("--rule"), tickColor: colour("--edge"), labelPadding: 6,
      },
      legend: {
        labelColor: colour("--text"), labelFontSize: 12, symbolType: "circle", symbolSize: 90,
        rowPadding: 5, offset: 12, labelLimit: 230, ...legend(spec, width),
      },
      text: { color: colour("--text"), fill: colour("--text") },
      bar: { discreteBandSize: { band: 0.72 }, binSpacing: 1 },
    };
  };

  const fitted = (spec, width) => {
    const copy = structuredClone(spec);
    const names = copy.encoding && copy.encoding.y && copy.encoding.y.axis;
    if (names && names.labelLimit && width < 420) names.labelLimit = Math.round(width * 0.38);
    const x = copy.encoding && copy.encoding.x;
    if (x && x.type === "temporal") x.axis.tickCount = Math.max(2, Math.round(width / 120));
    if (x && x.type === "nominal" && x.axis.labelLimit) {
      const count = new Set(copy.data.values.map((one) => one.x)).size;
      const room = width - (names ? names.labelLimit || 0 : 0);
      const each = Math.floor(room / count) - 6;
      x.axis.labelLimit = each < 60 ? 90 : each;
      if (each < 60) Object.assign(x.axis, { labelAngle: -45, labelAlign: "right" });
    }
    return copy;
  };

  const table = (made) => {
    const scroll = element("div", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    const whole = scroll.appendChild(element("table"));
    const head = whole.appendChild(element("thead")).appendChild(element("tr"));
    for (const column of made.columns) {
      const cell = head.appendChild(element("th", column.number ? "right" : "", column.label));
      cell.scope = "col";
    }
    const body = whole.appendChild(element("tbody"));
    for (const row of made.rows) {
      const line = body.appendChild(element("tr"));
      row.forEach((one, number) => {
        const cell = line.appendChild(element("td", made.columns[number].number ? "right" : ""));
        if (one.colour) cell.appendChild(element("span", "dot")).style.background = one.colour;
        cell.append(one.text);
        cell.title = one.text;
      });
    }
    return scroll;
  };

  const heading = (panel, title) => {
    const made = element("h2", "");
    if (panel.kind === "metric" && panel.drill) {
      const link = made.appendChild(element("a", "", title));
      link.href = "#" + panel.drill;
    } else {
      made.append(element("span", "", title));
      if (panel.drill) {
        const link = made.appendChild(element("a", "", panel.drill_title + " \u2192"));
        link.href = "#" + panel.drill;
      }
    }
    return made;
  };

  const draw = (panel, shown) => {
    const box = element("section", "panel");
    const [x, y, w, h] = panel.at;
    box.id = panel.id;
    box.dataset.kind = panel.kind;
    box.setAttribute("aria-label", panel.title);
    box.style.gridColumn = `${x + 1} / span ${w}`;
    box.style.gridRow = `${y + 1} / span ${h}`;
    box.style.setProperty("--height", `${Math.max(h * 28 - 8, 120)}px`);
    box.append(heading(panel, panel.title));
    if (panel.about) box.append(element("p", "said", panel.about));
    if (shown.tile !== undefined) {
      box.classList.add("tile");
      box.append(element("p", "note", shown.note), element("p", "number", shown.tile));
      if (shown.background) {
        box.classList.add("filled");
        box.style.background = shown.background;
      }
      return box;
    }
    const body = box.appendChild(element("div", "body"));
    if (shown.table) {
      const made = body.appendChild(table(shown.table));
      made.setAttribute("aria-label", panel.title);
    } else if (shown.html) {
      body.appendChild(element("div", "words")).innerHTML = shown.html;
    } else if (shown.empty) {
      const said = body.appendChild(element("p", "empty", shown.empty));
      said.dataset.expected = shown.expected;
    } else {
      body.appendChild(element("div", "chart"));
    }
    return box;
  };

  const show = async () => {
    const turn = ++drawn;
    root.dataset.ready = "";
    const dashboard = chosen();
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.name === dashboard.name) {
        link.setAttribute("aria-current", "page");
        if (narrow.matches) link.parentElement.scrollLeft = link.offsetLeft - 24;
      } else link.removeAttribute("aria-current");
    }
    $("title").textContent = dashboard.title;
    $("question").textContent = dashboard.question;
    $("last").textContent = dashboard.last;
    const subjects = dashboard.subjects[tenant.value] || [];
    $("about").hidden = !subjects.length;
    $("about").firstElementChild.textContent = dashboard.subject || "";
    if (subject.dataset.of !== dashboard.name + "|" + tenant.value) {
      subject.dataset.of = dashboard.name + "|" + tenant.value;
      subject.replaceChildren(...subjects.map((one) => new Option(one, one)));
    }
    $("more").textContent = dashboard.controls.length
      ? `In Kibana this dashboard is also filtered by: ${dashboard.controls.join(", ")}, and by time.`
      : "In Kibana this dashboard is also filtered by time.";
    const key = `${tenant.value}|${subjects.length ? subject.value : ""}`;
    views.forEach((view) => view.finalize());
    views = [];
    const ordered = [...dashboard.panels].sort((a, b) => a.at[1] - b.at[1] || a.at[0] - b.at[0]);
    $("grid").replaceChildren(...ordered.map((panel) => draw(panel, panel.shown[key])));
    await Promise.all(ordered.map(async (panel) => {
      const spec = panel.shown[key].spec;
      if (!spec) return;
      const place = $(panel.id).querySelector(".chart");
      const { clientWidth: width, clientHeight: height } = place;
      const made = await vegaEmbed(
        place,
        { ...fitted(spec, width), width, height, autosize: { type: "fit", contains: "padding" } },
        { actions: false, renderer: "svg", config: chartConfig(spec, width) },
      );
      place.querySelector("svg")?.setAttribute("aria-label", panel.title);
      if (turn === drawn) views.push(made); else made.finalize();
    }));
    if (turn === drawn) root.dataset.ready = dashboard.name;
  };

  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  $("theme").addEventListener("click", () => {
    setTheme(root.dataset.theme === "dark" ? "light" : "dark");
    show();
  });
  tenant.addEventListener("change", show);
  subject.addEventListener("change", show);
  window.addEventListener("hashchange", () => { window.scrollTo(0, 0); show(); });
  let waiting;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  show();
})();
