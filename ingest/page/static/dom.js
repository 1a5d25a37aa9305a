// Elements without a library. Text is set as text alone: nothing from a venue is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An element with attributes and children; a child is an element or a text, null is left out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Changes the page only where something differs, so that a selection and a screen reader are left alone.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Shows a sentence in place of what it is about, or hides it again.
export function setEmpty(element, sentence, ...instead) {
  element.hidden = !sentence;
  setText(element, sentence ?? "");
  for (const other of instead) other.toggleAttribute("hidden", Boolean(sentence));
}

// A table that scrolls by itself where there is no room; a heading is its text and the class of its column.
export function table(label, headings, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, ...headings.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)))),
      h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell, at) => h("td", { class: headings[at][1] }, cell)))))));
}

// New content in place of old: what the reader has scrolled to and put the focus on stays so.
export function renew(body, ...children) {
  const places = () => [...body.querySelectorAll(".scroll, summary")];
  const before = places().map((place) => [place.scrollTop, place.scrollLeft, place === document.activeElement]);
  body.replaceChildren(...children);
  for (const [at, place] of places().entries()) {
    const [top, left, hadFocus] = before[at] ?? [0, 0, false];
    place.scrollTop = top;
    place.scrollLeft = left;
    if (hadFocus) place.focus({ preventScroll: true });
  }
}
