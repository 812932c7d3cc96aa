// Making and changing elements. Text is only ever set as text: nothing here, or anywhere, parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("a", {href: "#/"}, "text", other)`. Functions are listeners, true and false attributes that are there or not. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in a picture. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else attribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set an attribute if it is another one. */
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Set the text of an element if it is another one. */
export function text(element, value) {
  const wanted = String(value ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

export const byId = (id) => document.getElementById(id);

/**
 * Children by key, in the order of `items`: made once, changed in place, so that focus and pointer stay where they are. An
 * element that is moved loses the focus, so of two that change places the other one moves.
 * `make(key, item)` gives an element, or an object with one as `.element`; `change(made, item, key)` brings it up to date.
 */
export class Keyed {
  constructor(parent, make, change) {
    Object.assign(this, { parent, make, change, known: new Map() });
  }

  show(items) {
    const wanted = new Set(items.map(([key]) => key));
    for (const [key, made] of this.known) {
      if (!wanted.has(key)) {
        (made.element ?? made).remove();
        this.known.delete(key);
      }
    }
    let place = this.parent.firstChild;
    for (const [key, item] of items) {
      let made = this.known.get(key);
      if (made === undefined) this.known.set(key, (made = this.make(key, item)));
      this.change(made, item, key);
      const element = made.element ?? made;
      const isNext = element === place?.nextSibling && !place.contains(document.activeElement);
      if (isNext) this.parent.append(place); // its own turn comes later
      else if (element !== place) this.parent.insertBefore(element, place);
      place = element.nextSibling;
    }
  }
}
