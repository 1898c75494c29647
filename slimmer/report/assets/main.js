"use strict";
// Puts the page together once its data is there.

const KINDS = { added: "added", removed: "removed", changed: "changed", package: "package", risk: "risk", config: "config" };

function unique(values) { return [...new Set(values)].sort(); }

function packageOptions(paths, tables) {
  const used = new Set();
  for (let i = 0; i < paths.length; i += 1) used.add(paths.packageIndex(i));
  return [...used].map((at) => (at < 0 ? ["-1", "(none)"] : [String(at), `${tables.packages[at][1]} (${tables.packages[at][0]})`]))
    .sort((a, b) => (a[1] < b[1] ? -1 : 1));
}

function pathFilters(paths, tables) {
  return [
    { id: "package", title: "Package", options: () => packageOptions(paths, tables), accept: (i, value) => paths.packageIndex(i) === Number(value) || paths.alsoOf(i, Number(value)) },
    { id: "risk", title: "Risk", options: () => unique(tables.marks.map((mark) => mark.split(":")[0])).map((risk) => [risk, risk]),
      accept: (i, value) => paths.marks(i).some((mark) => mark === value || mark.startsWith(`${value}:`)) },
    { id: "type", title: "Type", options: () => TYPES.map((type) => [type, type]), accept: (i, value) => paths.type(i) === value },
  ];
}

function pathColumns(paths) {
  return [
    { id: "path", title: "Path", lead: true, render: (i) => pathParts(paths.path(i), paths.type(i) === "directory" && paths.target(i)), value: (i) => paths.path(i) },
    { id: "size", title: "Size", number: true, render: (i) => (paths.type(i) === "file" || paths.size(i) ? bytes(paths.size(i)) : ""), value: (i) => paths.size(i) },
    { id: "package", title: "Package", render: (i) => paths.packageName(i), value: (i) => paths.packageName(i) || "\uffff" },
    { id: "risks", title: "Risks", render: (i) => make("span", {}, markBadges(paths.marks(i))), value: (i) => (paths.rows[i][7].length ? paths.marks(i).join(" ") : "\uffff") },
  ];
}

const BUILD = {
  overview(host, state) {
    state.map = new Treemap(host.querySelector("#map"), {
      kept: state.kept, removed: state.removed, packages: state.report.packages,
      openPath: (path, from) => state.panel.path(path, from), openPackage: (at, from) => state.panel.package(at, from),
    });
  },
  kept(host, { kept, tables, panel }) {
    const first = (i) => kept.reasons(i)[0] || { rule: "", text: "" };
    return new Grid(host, {
      id: "kept", label: "kept paths", count: kept.length, text: (i) => kept.searchable(i), weigh: (i) => kept.size(i),
      columns: [...pathColumns(kept), { id: "reason", title: "Why", text: true, render: (i) => first(i).text, value: (i) => first(i).text }],
      filters: [...pathFilters(kept, tables), { id: "rule", title: "Rule", options: () => unique(tables.rules).map((rule) => [rule, rule]), accept: (i, value) => first(i).rule === value }],
      open: (i, from) => panel.kept(i, from), initial: { column: "path", down: false, natural: true },
    });
  },
  removed(host, { removed, tables, panel }) {
    return new Grid(host, {
      id: "removed", label: "removed paths", count: removed.length, text: (i) => removed.searchable(i), weigh: (i) => removed.size(i),
      columns: pathColumns(removed), filters: pathFilters(removed, tables),
      open: (i, from) => panel.removed(i, from), initial: { column: "path", down: false, natural: true },
    });
  },
  packages(host, { report, panel }) {
    const rows = report.packages, info = (i) => rows[i].package;
    const words = { whole: "whole", part: "in part", removed: "removed" };
    return new Grid(host, {
      id: "packages", label: "packages", count: rows.length, text: (i) => `${info(i).name} ${info(i).version || ""} ${info(i).source || ""} ${info(i).license || ""}`.toLowerCase(),
      columns: [
        { id: "name", title: "Package", lead: true, render: (i) => info(i).name, value: (i) => info(i).name },
        { id: "version", title: "Version", render: (i) => info(i).version || "", value: (i) => info(i).version || "" },
        { id: "type", title: "Type", render: (i) => info(i).type, value: (i) => info(i).type },
        { id: "state", title: "State", render: (i) => words[rows[i].state], value: (i) => rows[i].state },
        { id: "stays", title: "Stays", number: true, render: (i) => (rows[i].kept_bytes ? bytes(rows[i].kept_bytes) : "–"), value: (i) => rows[i].kept_bytes },
        { id: "left", title: "Removed", number: true, render: (i) => (rows[i].removed_bytes ? bytes(rows[i].removed_bytes) : "–"), value: (i) => rows[i].removed_bytes },
        { id: "files", title: "Files", number: true, minor: true, render: (i) => `${number(rows[i].kept_files)} of ${number(rows[i].kept_files + rows[i].removed_files)}`, value: (i) => rows[i].kept_files },
        { id: "license", title: "Licence", minor: true, render: (i) => info(i).license || "", value: (i) => info(i).license || "\uffff" },
      ],
      filters: [
        { id: "state", title: "State", options: () => Object.entries(words), accept: (i, value) => rows[i].state === value },
        { id: "type", title: "Type", options: () => unique(rows.map((row) => row.package.type)).map((type) => [type, type]), accept: (i, value) => info(i).type === value },
      ],
      open: (i, from) => panel.package(i, from), initial: { column: "name", down: false },
    });
  },
  risks(host, { kept, removed, tables, panel }) {
    const rows = [];
    for (const [paths, state] of [[kept, "kept"], [removed, "removed"]]) {
      for (let i = 0; i < paths.length; i += 1) if (paths.rows[i][7].length) rows.push([paths, i, state]);
    }
    const marks = (at) => rows[at][0].marks(rows[at][1]);
    const why = (at) => (rows[at][2] === "kept" ? (kept.reasons(rows[at][1])[0] || { text: "" }).text : "");
    const grid = new Grid(host, {
      id: "risks", label: "paths with a risk", count: rows.length, text: (at) => rows[at][0].searchable(rows[at][1]),
      columns: [
        { id: "state", title: "State", render: (at) => make("span", { class: rows[at][2] === "kept" ? "badge bad" : "badge good" }, rows[at][2]), value: (at) => rows[at][2] },
        { id: "risks", title: "Risks", render: (at) => make("span", {}, markBadges(marks(at))), value: (at) => marks(at).join(" ") },
        { id: "path", title: "Path", lead: true, render: (at) => pathParts(rows[at][0].path(rows[at][1])), value: (at) => rows[at][0].path(rows[at][1]) },
        { id: "package", title: "Package", minor: true, render: (at) => rows[at][0].packageName(rows[at][1]), value: (at) => rows[at][0].packageName(rows[at][1]) },
        { id: "reason", title: "Why", text: true, render: why, value: why },
      ],
      filters: [
        { id: "state", title: "State", options: () => [["kept", "kept"], ["removed", "removed"]], accept: (at, value) => rows[at][2] === value },
        { id: "risk", title: "Risk", options: () => unique(tables.marks.map((mark) => mark.split(":")[0])).map((risk) => [risk, risk]), accept: (at, value) => marks(at).some((mark) => mark.split(":")[0] === value) },
      ],
      open: (at, from) => (rows[at][2] === "kept" ? panel.kept(rows[at][1], from) : panel.removed(rows[at][1], from)),
      initial: { column: "state", down: false, natural: true },
    });
    grid.choose("state", "kept");
    return grid;
  },
  warnings(host, { report, panel }) {
    const rows = report.unsure;
    return new Grid(host, {
      id: "warnings", label: "warnings", count: rows.length, text: (i) => `${rows[i].kind} ${rows[i].path} ${rows[i].text}`.toLowerCase(),
      columns: [
        { id: "weight", title: "Weight", number: true, render: (i) => String(rows[i].weight), value: (i) => rows[i].weight },
        { id: "kind", title: "Kind", render: (i) => rows[i].kind, value: (i) => rows[i].kind },
        { id: "path", title: "Path", lead: true, render: (i) => pathParts(rows[i].path), value: (i) => rows[i].path },
        { id: "text", title: "What may be wrong", text: true, render: (i) => [rows[i].text, rows[i].remedy].filter(Boolean).join(" — "), value: (i) => rows[i].text },
      ],
      filters: [{ id: "kind", title: "Kind", options: () => unique(rows.map((row) => row.kind)).map((kind) => [kind, kind]), accept: (i, value) => rows[i].kind === value }],
      open: (i, from) => panel.path(rows[i].path, from), initial: { column: "weight", down: true },
    });
  },
  changes(host, { changes, panel }) {
    const rows = changes;
    return new Grid(host, {
      id: "changes", label: "changes", count: rows.length, text: (i) => `${rows[i].name} ${rows[i].what} ${rows[i].note}`.toLowerCase(),
      columns: [
        { id: "kind", title: "What", render: (i) => make("span", { class: { added: "badge bad", removed: "badge good" }[rows[i].sign] || "badge warn" }, rows[i].sign), value: (i) => rows[i].sign },
        { id: "name", title: "Path or name", lead: true, render: (i) => (rows[i].kind === "path" ? pathParts(rows[i].name) : rows[i].name), value: (i) => rows[i].name },
        { id: "of", title: "Of", render: (i) => rows[i].kind, value: (i) => rows[i].kind },
        { id: "bytes", title: "Bytes", number: true, render: (i) => (rows[i].bytes ? `${rows[i].bytes > 0 ? "+" : "−"}${bytes(Math.abs(rows[i].bytes))}` : ""), value: (i) => rows[i].bytes },
        { id: "note", title: "How", text: true, render: (i) => [rows[i].what, rows[i].note].filter(Boolean).join("; "), value: (i) => rows[i].what },
      ],
      filters: [
        { id: "kind", title: "Of", options: () => unique(rows.map((row) => row.kind)).map((kind) => [kind, kind]), accept: (i, value) => rows[i].kind === value },
        { id: "sign", title: "What", options: () => unique(rows.map((row) => row.sign)).map((sign) => [sign, sign]), accept: (i, value) => rows[i].sign === value },
      ],
      open: (i, from) => { if (rows[i].kind === "path" || rows[i].kind === "risk") panel.path(rows[i].path || rows[i].name, from); },
      initial: { column: "kind", down: false, natural: true },
    });
  },
};

class Tabs {
  constructor(state) {
    this.state = state;
    this.buttons = [...document.querySelectorAll('[role="tab"]')];
    this.built = new Map();
    this.buttons.forEach((button, at) => {
      button.addEventListener("click", () => this.go(button.dataset.tab));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const to = event.key === "Home" ? 0 : event.key === "End" ? this.buttons.length - 1 : step ? (at + step + this.buttons.length) % this.buttons.length : -1;
        if (to >= 0) { event.preventDefault(); this.go(this.buttons[to].dataset.tab); this.buttons[to].focus(); }
      });
    });
  }

  // A tab has an address: it can be sent to somebody, and "back" leads back.
  go(name) {
    if (location.hash.slice(1) !== name) history.pushState(null, "", `#${name}`);
    this.show(name);
  }

  has(name) {
    return this.buttons.some((button) => button.dataset.tab === name);
  }

  show(name) {
    for (const button of this.buttons) {
      const chosen = button.dataset.tab === name;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      document.getElementById(`tab-${button.dataset.tab}`).hidden = !chosen;
      if (chosen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    document.body.dataset.tab = name;
    if (!this.built.has(name)) this.built.set(name, BUILD[name]?.(document.getElementById(`tab-${name}`), this.state) || null);
    const grid = this.built.get(name);
    if (grid) grid.paint(true);
    return grid;
  }
}

async function start() {
  const data = await unpack(document.getElementById("data"));
  const { tables, report, changes } = data;
  const state = { tables, report, changes, kept: new Paths(data.kept, tables), removed: new Paths(data.removed, tables) };
  const key = (type, name, version, location) => `${type}\n${name}\n${version || ""}\n${location || ""}`;
  const inReport = new Map(report.packages.map((each, at) => [key(each.package.type, each.package.name, each.package.version, each.package.location), at]));
  const inTable = new Map(tables.packages.map((each, at) => [key(...each), at]));
  state.packageAt = (entry) => inReport.get(key(...entry)) ?? -1;
  state.tableIndex = (info) => inTable.get(key(info.type, info.name, info.version, info.location)) ?? -1;
  state.panel = new Panel(state);
  const tabs = new Tabs(state);
  state.show = (tab, filter, value) => {
    const grid = tabs.show(tab);
    if (grid) { grid.choose(filter, value); grid.view.focus(); }
  };
  document.querySelectorAll("[data-risk]").forEach((element) => element.addEventListener("click", () => {
    const grid = tabs.show("risks");
    grid.choose("risk", element.dataset.risk);
    grid.view.focus();
  }));
  const route = () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (hash.startsWith("path=")) { tabs.show(state.kept.indexOf(hash.slice(5)) >= 0 ? "kept" : "removed"); state.panel.path(hash.slice(5)); } else tabs.show(tabs.has(hash) ? hash : "overview");
  };
  window.addEventListener("hashchange", route);
  window.addEventListener("popstate", route);
  route();
  document.getElementById("state").remove();
  document.body.dataset.ready = "yes";
}

start().catch((error) => {
  const place = document.getElementById("state");
  if (place) place.textContent = `The lists cannot be shown: ${error.message}. A browser of 2023 or later is needed.`;
  throw error;
});
