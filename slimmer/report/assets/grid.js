"use strict";
// A table of many rows: only those in view exist. Sorted and filtered as indices; an ARIA grid for keyboards and readers.

const TALLEST = 8_000_000; // pixels: browsers clip elements that are taller than some tens of millions

class Grid {
  // columns: {id, title, render(i), value(i), number?, lead?, minor?}; filters: {id, title, options(), accept(i, chosen)}
  constructor(host, { id, label, count, columns, filters = [], text, weigh, open, initial }) {
    Object.assign(this, { id, label, count, columns, filters, text, weigh, open });
    this.sort = initial || { column: columns[0].id, down: false, natural: true };
    this.active = -1;
    this.chosen = new Map();
    this.query = "";
    this.build(host);
    this.refresh();
  }

  build(host) {
    const name = (part) => `${this.id}-${part}`;
    this.search = make("input", { type: "search", id: name("search"), autocomplete: "off", spellcheck: "false", placeholder: "words, all must occur" });
    this.search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.view.setAttribute("aria-busy", "true");
      this.timer = setTimeout(() => { this.query = this.search.value; this.refresh(); }, 60);
    });
    const tools = make("div", { class: "tools" }, make("label", { class: "search", for: name("search") }, `Search ${this.label}`, this.search));
    this.selects = new Map();
    const filters = make("details", { class: "filters" }, make("summary", {}, "Filters"));
    const inner = make("div", { class: "inner" });
    filters.open = matchMedia("(min-width: 701px)").matches; // on a small screen they would take all the room
    for (const filter of this.filters) {
      const select = make("select", { id: name(filter.id) }, make("option", { value: "" }, "any"),
        filter.options().map(([value, title]) => make("option", { value }, title)));
      select.addEventListener("change", () => { this.chosen.set(filter.id, select.value); this.refresh(); });
      this.selects.set(filter.id, select);
      inner.append(make("label", { for: name(filter.id) }, filter.title, select));
    }
    inner.append(make("button", { class: "plain", type: "button", onclick: () => this.clear() }, "Clear"));
    filters.append(inner);
    tools.append(filters);
    this.status = make("p", { class: "count", role: "status" });
    this.heads = new Map();
    const head = make("div", { class: "headrow", role: "row", "aria-rowindex": "1" });
    this.columns.forEach((column, at) => {
      const button = make("button", { type: "button", onclick: () => this.sortBy(column.id) }, column.title);
      const cell = make("div", { role: "columnheader", "aria-colindex": at + 1, class: column.number ? "number" : "", "aria-sort": "none" }, button);
      this.heads.set(column.id, cell);
      head.append(cell);
    });
    this.body = make("div", { class: "body", role: "rowgroup" });
    this.view = make("div", { class: `grid t-${this.id}`, role: "grid", tabindex: "0", "aria-label": this.label, "aria-colcount": this.columns.length },
      make("div", { role: "rowgroup" }, head), this.body);
    this.head = head;
    this.view.addEventListener("scroll", () => this.paint(), { passive: true });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) { this.active = Number(row.dataset.at); this.paint(true); this.open(this.order[this.active], this.view); }
    });
    new ResizeObserver(() => this.paint(true)).observe(this.view);
    host.append(tools, this.status, this.view);
  }

  clear() {
    this.search.value = this.query = "";
    this.chosen.clear();
    for (const select of this.selects.values()) select.value = "";
    this.refresh();
  }

  choose(filter, value, query = "") {
    this.clear();
    this.search.value = this.query = query;
    if (filter) {
      this.chosen.set(filter, value);
      this.selects.get(filter).value = value;
    }
    this.refresh();
  }

  sortBy(column) {
    const same = this.sort.column === column;
    const found = this.columns.find((each) => each.id === column);
    this.sort = { column, down: same ? !this.sort.down : Boolean(found.number) };
    this.refresh();
  }

  refresh() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const tests = this.filters.filter((each) => this.chosen.get(each.id)).map((each) => [each, this.chosen.get(each.id)]);
    const order = [];
    let weight = 0;
    rows: for (let i = 0; i < this.count; i += 1) {
      for (const [filter, value] of tests) if (!filter.accept(i, value)) continue rows;
      if (words.length) {
        const text = this.text(i);
        for (const word of words) if (!text.includes(word)) continue rows;
      }
      order.push(i);
      if (this.weigh) weight += this.weigh(i);
    }
    const column = this.columns.find((each) => each.id === this.sort.column);
    if (!(this.sort.natural && !this.sort.down)) {
      const keys = order.map((i) => column.value(i));
      const places = order.map((_, at) => at);
      places.sort(column.number
        ? (a, b) => keys[a] - keys[b] || order[a] - order[b]
        : (a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : order[a] - order[b]));
      this.order = places.map((at) => order[at]);
      if (this.sort.down) this.order.reverse();
    } else {
      this.order = order;
    }
    for (const [id, cell] of this.heads) {
      cell.setAttribute("aria-sort", id === this.sort.column ? (this.sort.down ? "descending" : "ascending") : "none");
    }
    this.active = -1;
    this.view.removeAttribute("aria-busy");
    this.view.scrollTop = 0;
    this.view.setAttribute("aria-rowcount", this.order.length + 1);
    this.status.textContent = `${number(this.order.length)} of ${number(this.count)}` + (this.weigh ? `, ${bytes(weight)}` : "");
    this.paint(true);
  }

  measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.view).getPropertyValue("--row"));
    const full = this.order.length * this.rowHeight;
    this.height = Math.min(full, TALLEST);
    this.room = Math.max(0, this.view.clientHeight - this.head.offsetHeight);
    // Beyond TALLEST a pixel of the scroll bar stands for more than a pixel of rows.
    this.scale = full > this.height ? (full - this.room) / (this.height - this.room) : 1;
  }

  paint(again = false) {
    if (!this.view.clientHeight) return;
    if (again) this.measure();
    const top = this.view.scrollTop * this.scale;
    const first = Math.max(0, Math.floor(top / this.rowHeight) - 6);
    const last = Math.min(this.order.length, Math.ceil((top + this.room) / this.rowHeight) + 6);
    if (!again && first === this.first && last === this.last && this.scale === 1) return;
    Object.assign(this, { first, last });
    this.body.style.height = `${this.height}px`;
    const shift = this.view.scrollTop - top;
    const rows = [];
    for (let at = first; at < last; at += 1) rows.push(this.row(at, at * this.rowHeight + shift));
    if (!this.order.length) rows.push(make("div", { class: "empty" }, this.count ? "Nothing fits. Clear the search and the filters." : "There are none."));
    this.body.replaceChildren(...rows);
    if (this.active >= 0) this.view.setAttribute("aria-activedescendant", `${this.id}-row-${this.active}`);
    else this.view.removeAttribute("aria-activedescendant");
  }

  row(at, top) {
    const i = this.order[at];
    const row = make("div", { class: at === this.active ? "row here" : "row", role: "row", id: `${this.id}-row-${at}`, "aria-rowindex": at + 2, "data-at": at, "aria-selected": at === this.active ? "true" : null });
    row.style.top = `${top}px`;
    this.columns.forEach((column, place) => {
      const classes = [column.number && "number", column.lead && "lead", column.minor && "minor", column.text && "text"].filter(Boolean).join(" ");
      const content = column.render(i);
      const cell = make("div", { role: "gridcell", "aria-colindex": place + 1, class: classes, "data-title": column.title }, content);
      if (typeof content === "string") cell.title = content;
      row.append(cell);
    });
    return row;
  }

  key(event) {
    if (event.target !== this.view) return;
    const pageful = Math.max(1, Math.floor(this.room / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: pageful, PageUp: -pageful, Home: -Infinity, End: Infinity };
    if (event.key in steps && this.order.length) {
      event.preventDefault();
      this.active = Math.min(this.order.length - 1, Math.max(0, (this.active < 0 && steps[event.key] > 0 ? -1 : this.active) + steps[event.key]));
      this.show(this.active);
    } else if ((event.key === "Enter" || event.key === " ") && this.active >= 0) {
      event.preventDefault();
      this.open(this.order[this.active], this.view);
    }
  }

  show(at) {
    const top = at * this.rowHeight, seen = this.view.scrollTop * this.scale;
    if (top < seen) this.view.scrollTop = top / this.scale;
    else if (top + this.rowHeight > seen + this.room) this.view.scrollTop = (top + this.rowHeight - this.room) / this.scale;
    this.paint(true);
  }
}
