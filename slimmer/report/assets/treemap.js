"use strict";
// A squarified treemap (Bruls, Huizing, van Wijk 2000): area is weight in the fat root, the filled part stays.

const MOST_CELLS = 48;

function squarify(weights, x, y, width, height) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const areas = weights.map((weight) => (weight / total) * width * height);
  const cells = [];
  let at = 0;
  while (at < areas.length) {
    const side = Math.min(width, height);
    let end = at + 1, sum = areas[at];
    const worst = (from, to, whole) => Math.max((side * side * areas[from]) / (whole * whole), (whole * whole) / (side * side * areas[to]));
    while (end < areas.length && worst(at, end, sum + areas[end]) <= worst(at, end - 1, sum)) { sum += areas[end]; end += 1; }
    const depth = sum / side;
    let along = 0;
    for (let i = at; i < end; i += 1) {
      const length = areas[i] / depth;
      cells.push(width >= height ? [x, y + along, depth, length] : [x + along, y, length, depth]);
      along += length;
    }
    if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
    at = end;
  }
  return cells;
}

class Treemap {
  constructor(host, { kept, removed, packages, openPath, openPackage }) {
    Object.assign(this, { kept, removed, packages, openPath, openPackage });
    this.folder = "";
    this.mode = "folders";
    this.crumbs = make("span", { class: "crumbs path" });
    this.picture = draw("svg", { role: "group", "aria-label": "Sizes before and after" });
    this.switches = ["folders", "packages"].map((mode) =>
      make("button", { type: "button", "aria-pressed": String(mode === this.mode), onclick: () => this.by(mode) }, `by ${mode}`));
    host.append(
      make("div", { class: "maphead" }, make("span", { class: "switch" }, this.switches), this.crumbs,
        make("span", { class: "key" }, make("i", { class: "stay" }), "stays"),
        make("span", { class: "key" }, make("i", { class: "gone" }), "removed")),
      make("div", { class: "map" }, this.picture));
    new ResizeObserver(() => this.paint()).observe(this.picture);
  }

  by(mode) {
    this.mode = mode;
    this.switches.forEach((each) => each.setAttribute("aria-pressed", String(each.textContent === `by ${mode}`)));
    this.paint();
  }

  enter(folder) {
    this.folder = folder;
    this.paint();
    const first = this.picture.querySelector(".cell");
    if (first) first.focus();
  }

  // What is directly in a folder: [{name, kept, removed, folder}], by one look at all paths.
  inside(folder) {
    const prefix = `${folder}/`;
    const items = new Map();
    for (const [paths, side] of [[this.kept, "kept"], [this.removed, "removed"]]) {
      for (let i = 0; i < paths.length; i += 1) {
        const size = paths.size(i), path = paths.path(i);
        if (!size || !path.startsWith(prefix)) continue;
        const cut = path.indexOf("/", prefix.length);
        const name = cut < 0 ? path.slice(prefix.length) : path.slice(prefix.length, cut);
        let item = items.get(name);
        if (!item) items.set(name, item = { path: prefix + name, kept: 0, removed: 0, folder: false });
        item[side] += size;
        if (cut >= 0) item.folder = true;
      }
    }
    return [...items.values()];
  }

  // The folder's content, where a folder that outweighs the rest gives way to its own content.
  folderItems() {
    let items = this.inside(this.folder);
    const weight = (item) => item.kept + item.removed;
    const total = items.reduce((sum, item) => sum + weight(item), 0);
    for (let round = 0; round < 24 && items.length < MOST_CELLS; round += 1) {
      const heavy = items.filter((item) => item.folder && weight(item) > total / 9).sort((a, b) => weight(b) - weight(a))[0];
      if (!heavy) break;
      const parts = this.inside(heavy.path);
      items = items.filter((item) => item !== heavy).concat(parts);
    }
    const start = this.folder.length + 1;
    return items.map((item) => ({
      ...item, name: item.path.slice(start) + (item.folder ? "/" : ""),
      act: () => (item.folder ? this.enter(item.path) : this.openPath(item.path, this.picture)),
    }));
  }

  packageItems() {
    return this.packages.map((each, at) => ({ name: each.package.name, kept: each.kept_bytes, removed: each.removed_bytes, act: () => this.openPackage(at, this.picture) }));
  }

  paint() {
    const width = this.picture.clientWidth, height = this.picture.clientHeight;
    if (!width) return;
    const items = (this.mode === "folders" ? this.folderItems() : this.packageItems()).filter((item) => item.kept + item.removed > 0);
    items.sort((a, b) => b.kept + b.removed - a.kept - a.removed || (a.name < b.name ? -1 : 1));
    const rest = items.splice(MOST_CELLS);
    if (rest.length) {
      const sum = (side) => rest.reduce((total, item) => total + item[side], 0);
      items.push({ name: `${number(rest.length)} smaller`, kept: sum("kept"), removed: sum("removed"), act: null });
      items.sort((a, b) => b.kept + b.removed - a.kept - a.removed);
    }
    this.path();
    if (!items.length) {
      this.picture.replaceChildren(draw("text", { x: 16, y: 32 }, "nothing with a size here"));
      return;
    }
    const places = squarify(items.map((item) => item.kept + item.removed), 0, 0, width, height);
    this.picture.replaceChildren(...items.map((item, at) => this.cell(item, ...places[at])));
  }

  path() {
    if (this.mode === "packages") { this.crumbs.replaceChildren("all packages"); return; }
    const parts = this.folder.split("/").slice(1);
    const links = [make("button", { class: "link", type: "button", onclick: () => this.enter("") }, "/")];
    parts.forEach((part, at) => links.push(at ? " / " : " ", make("button", { class: "link", type: "button", onclick: () => this.enter("/" + parts.slice(0, at + 1).join("/")) }, part)));
    this.crumbs.replaceChildren(...links);
  }

  cell(item, x, y, width, height) {
    const whole = item.kept + item.removed;
    const stay = height * (item.kept / whole);
    const words = `${item.name}: ${bytes(whole)}, ${item.kept ? bytes(item.kept) : "nothing"} stays`;
    const cell = draw("g", { class: "cell", role: item.act ? "button" : "img", "aria-label": words, ...(item.act ? { tabindex: 0 } : {}) },
      draw("title", {}, words),
      draw("rect", { class: "gone", x, y, width, height }),
      draw("rect", { class: "stay", x, y: y + height - stay, width, height: stay }),
      draw("rect", { class: "edge", x, y, width, height }));
    const fits = Math.floor((width - 10) / 7);
    const last = item.name.slice(item.name.lastIndexOf("/", item.name.length - 2) + 1);
    const name = [item.name, last].find((each) => each.length <= fits) || `${last.slice(0, fits - 1)}…`;
    if (height > 20 && (fits >= 5 || name === last)) {
      const on = stay > height - 4 ? "on" : ""; // the label lies on what stays
      cell.append(draw("text", { class: on, x: x + 6, y: y + 16 }, name));
      if (height > 38 && width > 62)
        cell.append(draw("text", { class: `small ${on}`, x: x + 6, y: y + 31 }, bytes(whole)));
    }
    if (item.act) {
      cell.addEventListener("click", item.act);
      cell.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); item.act(); }
      });
    }
    return cell;
  }
}
