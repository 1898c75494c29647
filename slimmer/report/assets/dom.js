"use strict";
// Elements without markup: text stays text.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function markBadges(marks) {
  return marks.map((mark) => make("span", { class: LOUD.has(mark.split(":")[0]) ? "mark loud" : "mark" }, mark));
}

function pathParts(path, below) {
  const cut = path.lastIndexOf("/") + 1;
  return make("span", { class: "two path" },
    make("span", { class: "dir" }, path.slice(0, cut)), make("span", { class: "base" }, path.slice(cut) || ""),
    below ? make("span", { class: "dir" }, `/ with ${below}`) : "");
}
