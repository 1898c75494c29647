"use strict";
// The panel at the side: all about one path or one package. The focus goes in, and back to where it came from.

const OWNERS = 12; // packages of a directory that is told as a whole, with a link each

class Panel {
  constructor(state) {
    this.state = state;
    this.title = make("h2", { id: "panel-title", tabindex: "-1" });
    this.content = make("div");
    this.element = make("aside", { class: "panel", role: "dialog", "aria-labelledby": "panel-title", hidden: true },
      make("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => this.close() }, "×"), this.title, this.content);
    this.element.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !this.element.hidden) this.close(); });
    document.body.append(this.element);
  }

  open(title, children, from) {
    if (from) this.from = from;
    this.title.replaceChildren(title);
    this.content.replaceChildren(...children);
    this.element.hidden = false;
    this.element.scrollTop = 0;
    this.title.focus();
  }

  close() {
    this.element.hidden = true;
    if (location.hash.startsWith("#path=")) history.replaceState(null, "", location.pathname + location.search);
    if (this.from && this.from.isConnected) this.from.focus();
  }

  terms(pairs) {
    return make("dl", { class: "terms" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  }

  path(path, from) {
    const { kept, removed } = this.state;
    const i = kept.indexOf(path);
    if (i >= 0) return this.kept(i, from);
    const gone = removed.indexOf(path);
    if (gone >= 0) return this.removed(gone, from);
    return this.open(path, [make("p", {}, "The fat root does not have this path.")], from);
  }

  facts(paths, i, state) {
    const owned = [paths.package(i), ...paths.also(i)].filter(Boolean);
    return this.terms([
      ["state", make("span", { class: state === "kept" ? "badge good" : "badge warn" }, state)],
      ["type", `${paths.type(i)}, mode ${paths.mode(i)}, owner ${paths.owner(i)}` + (paths.size(i) ? `, ${bytes(paths.size(i))}` : "")],
      [paths.type(i) === "directory" ? "had below" : "leads to", paths.target(i)],
      ["package", owned.length ? make("span", {}, owned.slice(0, OWNERS).map((each, at) => [at ? ", " : "", this.packageLink(each)]).flat(), owned.length > OWNERS ? ` and ${number(owned.length - OWNERS)} more` : "") : "none"],
      ["risks", paths.marks(i).length ? make("span", {}, markBadges(paths.marks(i))) : ""],
    ]);
  }

  packageLink(entry) {
    const at = this.state.packageAt(entry);
    const words = `${entry[1]} ${entry[2]} (${entry[0]})`;
    return at < 0 ? words : make("button", { class: "link", type: "button", onclick: () => this.package(at) }, words);
  }

  pathLink(path) {
    return make("button", { class: "link path", type: "button", onclick: () => this.path(path) }, path);
  }

  kept(i, from) {
    const { kept } = this.state;
    const steps = chain(kept, i);
    const list = make("ol", { class: "chain" }, steps.map(({ at, reason }) =>
      make("li", {}, at === i ? make("span", { class: "path" }, kept.path(at)) : this.pathLink(kept.path(at)),
        make("div", {}, reason.text, make("span", { class: "rule" }, reason.rule)))));
    const others = kept.reasons(i).slice(0).filter((reason) => reason !== steps[0]?.reason);
    const more = others.filter((reason) => !(steps.length && reason.text === steps[0].reason.text && reason.neededBy === steps[0].reason.neededBy));
    const children = [this.facts(kept, i, "kept"), make("h3", {}, "Why it stays"), list];
    if (more.length) {
      children.push(make("h3", {}, "Other reasons"), make("ul", {}, more.map((reason) =>
        make("li", {}, reason.text, make("span", { class: "rule" }, reason.rule), reason.neededBy ? [" ", this.pathLink(reason.neededBy)] : ""))));
    }
    this.open(make("span", { class: "path" }, kept.path(i)), children, from);
  }

  removed(i, from) {
    const { removed } = this.state;
    const path = removed.path(i);
    this.open(make("span", { class: "path" }, path), [
      this.facts(removed, i, "removed"),
      make("h3", {}, "Why it left"),
      make("p", {}, "Nothing needed it: no recorded run touched it, and nothing that stays asks for it."),
      make("h3", {}, "To keep it"),
      make("pre", {}, `--include '${path}'`),
      make("p", {}, "Or let the exercise use it, with --probe or --exec: then it stays with its reason."),
    ], from);
  }

  package(at, from) {
    const each = this.state.report.packages[at], info = each.package;
    const jump = (tab, words) => make("button", { class: "link", type: "button", onclick: () => { this.close(); this.state.show(tab, "package", String(this.state.tableIndex(info))); } }, words);
    const children = [this.terms([
      ["state", each.state === "whole" ? "kept whole" : each.state === "part" ? "kept in part" : "removed"],
      ["version", info.version], ["type", info.type], ["architecture", info.architecture],
      ["source", info.source ? `${info.source} ${info.source_version || ""}` : ""], ["licence", info.license], ["installed at", info.location],
      ["stays", make("span", {}, `${number(each.kept_files)} files, ${bytes(each.kept_bytes)} `, each.kept_files ? jump("kept", "show") : "")],
      ["removed", make("span", {}, `${number(each.removed_files)} files, ${bytes(each.removed_bytes)} `, each.removed_files ? jump("removed", "show") : "")],
      ["copyright text", each.state === "removed" ? "" : each.copyright ? "stays" : "does not stay"],
    ])];
    if (each.part.length) {
      children.push(make("h3", {}, each.kept_files > each.part.length ? `The first of ${number(each.kept_files)} kept files` : "What stays of it"),
        make("ul", {}, each.part.map((path) => make("li", {}, this.pathLink(path)))));
    }
    this.open(`${info.name} ${info.version || ""}`, children, from);
  }
}
