// Small helpers for making and finding elements. No markup is ever made of text: what comes in is shown, never read.

export const $ = (id) => document.getElementById(id);

/** An element with properties, and with children: elements, texts, or null for none. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put these children in place of whatever is in the element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** Tell a screen reader. */
export function announce(text) {
  $("said").textContent = text;
}

/** Show a dialog, which Escape and a press outside of it close; `closed` is called then. */
export function open(dialog, closed = () => {}) {
  dialog.onclose = closed;
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  if (!dialog.open) dialog.showModal();
}
