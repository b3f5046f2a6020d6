// Marking a photograph's subject by a box: with the mouse, with a finger, with the arrow keys, or by numbers.

import { $, fill, h, open } from "./dom.js";
import { t, word } from "./words.js";

const EDGES = [
  ["left", word("Left")],
  ["top", word("Top")],
  ["right", word("Right")],
  ["bottom", word("Bottom")],
];
const LEAST = 8; // pixels

/** Ask for a box in the picture at this address; [left, top, right, bottom] in its pixels, "whole", or null. */
export function askForSubject(address, given) {
  return new Promise((resolve) => {
    const image = h("img", { src: address, alt: t("The picture"), draggable: false });
    const box = h("div", { class: "box", tabIndex: 0, role: "group", "aria-label": t("Box around the subject: arrow keys move it, with Shift they change its size"), hidden: true });
    const stage = h("div", { class: "stage" }, image, box);
    const inputs = EDGES.map(([name, label]) => h("input", { id: `edge-${name}`, type: "number", min: 0, step: 1, oninput: typed, "aria-label": t(label) }));
    const edges = EDGES.map(([name, label], index) => h("label", { htmlFor: `edge-${name}` }, h("span", {}, t(label)), inputs[index]));
    let answer = null;
    let subject = Array.isArray(given) ? given : null;
    let isGuess = !subject; // until somebody has drawn one, a drag draws it
    let size = [1, 1];
    const cut = h("button", { class: "primary", onclick: () => end(subject.map(Math.round)) }, t("Cut It Out"));
    fill(
      $("marking"),
      h("h2", { id: "marking-title" }, t("Mark the Subject")),
      h("p", { class: "fine" }, t("Draw a box around all of it and a little more.")),
      stage,
      h("div", { class: "edges" }, edges),
      h("div", { class: "row" }, cut, h("button", { onclick: () => end("whole") }, t("Take It Whole")), h("button", { class: "quiet", onclick: () => end(null) }, t("Cancel"))),
    );
    open($("marking"), () => resolve(answer));
    image.addEventListener("load", () => {
      size = [image.naturalWidth, image.naturalHeight];
      // a first guess, so that a keyboard has something to begin with
      subject ??= [size[0] * 0.1, size[1] * 0.1, size[0] * 0.9, size[1] * 0.9];
      inputs.forEach((input, index) => (input.max = size[index % 2]));
      draw();
    });

    let anchor = null;
    let grip = null;
    stage.addEventListener("pointerdown", (event) => {
      const at = pixel(event);
      grip = isGuess ? null : gripAt(at);
      isGuess = false;
      anchor = at;
      if (!grip) subject = [...at, ...at];
      stage.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    stage.addEventListener("pointermove", (event) => {
      if (!anchor) return;
      const at = pixel(event);
      if (!grip) subject = [Math.min(anchor[0], at[0]), Math.min(anchor[1], at[1]), Math.max(anchor[0], at[0]), Math.max(anchor[1], at[1])];
      else if (grip === "move") {
        move(at[0] - anchor[0], at[1] - anchor[1]);
        anchor = at;
      } else for (const index of grip) subject[index] = at[index % 2];
      draw();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, () => {
        if (anchor && subject) subject = sorted(subject);
        anchor = null;
        draw();
      });
    }
    box.addEventListener("keydown", (event) => {
      const step = Math.max(1, Math.round(Math.max(...size) / 100));
      const [x, y] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
      if (!x && !y) return;
      isGuess = false;
      event.preventDefault();
      if (event.shiftKey) {
        subject[2] = Math.min(size[0], Math.max(subject[0] + LEAST, subject[2] + x));
        subject[3] = Math.min(size[1], Math.max(subject[1] + LEAST, subject[3] + y));
      } else move(x, y);
      draw();
    });

    function pixel(event) {
      const place = image.getBoundingClientRect();
      const across = ((event.clientX - place.left) / place.width) * size[0];
      const down = ((event.clientY - place.top) / place.height) * size[1];
      return [Math.min(Math.max(across, 0), size[0]), Math.min(Math.max(down, 0), size[1])];
    }
    /** The edges that a point is at (as places in the box), "move" within it, null outside of it. */
    function gripAt([x, y]) {
      const near = (Math.max(...size) / image.getBoundingClientRect().width) * 14;
      const [left, top, right, bottom] = subject;
      if (x < left - near || x > right + near || y < top - near || y > bottom + near) return null;
      const found = [];
      if (Math.abs(x - left) < near) found.push(0);
      else if (Math.abs(x - right) < near) found.push(2);
      if (Math.abs(y - top) < near) found.push(1);
      else if (Math.abs(y - bottom) < near) found.push(3);
      return found.length ? found : "move";
    }
    function move(x, y) {
      const across = Math.min(Math.max(x, -subject[0]), size[0] - subject[2]);
      const down = Math.min(Math.max(y, -subject[1]), size[1] - subject[3]);
      subject = [subject[0] + across, subject[1] + down, subject[2] + across, subject[3] + down];
    }
    function typed() {
      const values = inputs.map((input) => Number(input.value));
      if (values.every((value) => Number.isFinite(value))) {
        isGuess = false;
        subject = values;
        draw(false);
      }
    }
    function draw(numbersToo = true) {
      const [left, top, right, bottom] = sorted(subject);
      box.hidden = false;
      box.style.left = `${(left / size[0]) * 100}%`;
      box.style.top = `${(top / size[1]) * 100}%`;
      box.style.width = `${((right - left) / size[0]) * 100}%`;
      box.style.height = `${((bottom - top) / size[1]) * 100}%`;
      cut.disabled = right - left < LEAST || bottom - top < LEAST;
      if (numbersToo) inputs.forEach((input, index) => (input.value = String(Math.round(subject[index]))));
    }
    function end(result) {
      answer = result;
      $("marking").close();
    }
  });
}

const sorted = ([left, top, right, bottom]) => [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
