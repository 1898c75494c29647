"use strict";
// The data of the page: unpacked from the block of base64 that the page carries, and questions about it.

const TYPES = ["file", "directory", "symlink", "fifo", "char", "block", "socket"];
const LOUD = new Set(["credential", "setuid", "file-capability", "world-writable"]);
const UNITS = ["B", "kB", "MB", "GB", "TB"];

function bytes(count) {
  let value = count, unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  if (unit === 0) return `${count} B`;
  const digits = Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

const number = (count) => count.toLocaleString("en-US");

async function unpack(element) {
  const text = atob(element.textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) packed[at] = text.charCodeAt(at);
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

// Rows as the writer has them: [path, type, mode, uid, gid, size, package, marks, target, reasons?, also?]
class Paths {
  constructor(rows, tables) {
    this.rows = rows;
    this.tables = tables;
    this.lower = null;
    this.at = null;
  }
  get length() { return this.rows.length; }
  path(i) { return this.rows[i][0]; }
  type(i) { return TYPES[this.rows[i][1]]; }
  size(i) { return this.rows[i][5]; }
  packageIndex(i) { return this.rows[i][6]; }
  package(i) { const at = this.rows[i][6]; return at < 0 ? null : this.tables.packages[at]; }
  packageName(i) { const found = this.package(i); return found ? found[1] : ""; }
  marks(i) { return this.rows[i][7].map((at) => this.tables.marks[at]); }
  target(i) { return this.rows[i][8]; }
  reasons(i) {
    return (this.rows[i][9] || []).map(([rule, text, neededBy]) => ({
      rule: this.tables.rules[rule], text: this.tables.texts[text], neededBy,
    }));
  }
  also(i) { return (this.rows[i][10] || []).map((at) => this.tables.packages[at]); }
  // Of a directory that is told as a whole: the packages that had parts in it, the largest part first.
  alsoOf(i, at) { return Boolean(this.rows[i][10] && this.rows[i][10].includes(at)); }
  mode(i) { return this.rows[i][2].toString(8).padStart(4, "0"); }
  owner(i) { return `${this.rows[i][3]}:${this.rows[i][4]}`; }
  indexOf(path) {
    if (!this.at) this.at = new Map(this.rows.map((row, i) => [row[0], i]));
    return this.at.has(path) ? this.at.get(path) : -1;
  }
  searchable(i) {
    if (!this.lower) this.lower = new Array(this.rows.length);
    let text = this.lower[i];
    if (text === undefined) {
      const reasons = this.rows[i][9];
      text = `${this.rows[i][0]}\n${this.packageName(i)}\n${this.marks(i).join(" ")}`;
      // That a directory holds a path is no reason to find it by that path's name.
      if (reasons && reasons.length && this.tables.rules[reasons[0][0]] !== "directory") text += `\n${this.tables.texts[reasons[0][1]]}`;
      text = this.lower[i] = text.toLowerCase();
    }
    return text;
  }
}

// The shortest chain of reasons from a kept path to one that stays by itself.
function chain(kept, start) {
  const before = new Map([[start, null]]);
  const waiting = [start];
  for (let head = 0; head < waiting.length; head += 1) {
    const at = waiting[head];
    for (const reason of kept.reasons(at)) {
      const next = reason.neededBy ? kept.indexOf(reason.neededBy) : -1;
      if (next < 0) {
        const steps = [{ at, reason }];
        for (let back = before.get(at); back; back = before.get(back.at)) steps.unshift(back);
        return steps;
      }
      if (!before.has(next)) {
        before.set(next, { at, reason });
        waiting.push(next);
      }
    }
  }
  const reasons = kept.reasons(start);
  return reasons.length ? [{ at: start, reason: reasons[0] }] : [];
}
