// A new asset: its pictures, by drop, paste, file and camera, up to four views of it; its settings; and off it goes.

import { newUuid, pathOf, tasks } from "./api.js";
import { $, announce, fill, h } from "./dom.js";
import { takePicture } from "./lens.js";
import { askForSubject } from "./marking.js";
import { nested, settingsForm } from "./settings.js";
import { said, t, word } from "./words.js";

const VIEWS = [
  ["front", word("Front")],
  ["right", word("Right")],
  ["back", word("Back")],
  ["left", word("Left")],
];
const ENDING = /^(.*?[^\s_.-])[\s_.-]+(front|right|back|left)$/i;
const MOST_PIXELS = 40e6; // the service takes no more
const LARGE_SIDE = 4096; // of a picture made smaller here

let table = null;
let form = null;
let items = []; // each an asset to be made: its pictures by view
let active = 0;
let isSending = false;

export function begin(settings) {
  table = settings;
  form = settingsForm(table);
  fill($("settings"), form.element);
  $("settings").addEventListener("input", drawButton);
  $("settings").addEventListener("change", drawButton);
  reset();
}

export function reset() {
  for (const item of items) for (const slot of Object.values(item)) drop(slot);
  items = [{}];
  active = 0;
  $("compose-problem").textContent = "";
  form?.set({});
  draw();
}

/** Whether the service makes drafts alone: then some settings do nothing. */
export function tellEngine(isDraft) {
  form?.draft(isDraft);
}

/** Take the pictures and the settings of an earlier task. */
export function takeOver(task) {
  const item = {};
  if (task.image) item.front = kept(task.image, task, "front");
  for (const [view, upload] of Object.entries(task.views)) if (upload) item[view] = kept(upload, task, view);
  items = [item];
  active = 0;
  form.set({ ...task.settings, seed: task.seed });
  draw();
  $("compose").scrollIntoView({ block: "start" });
  $("generate").focus();
}

function kept(upload, task, view) {
  return { upload: { mediaUUID: upload, warnings: [] }, preview: `/page/tasks/${task.taskUUID}/pictures/${view}`, name: t("Kept picture") };
}

// Pictures in

/** Pictures that came together: views of one object where their names say so, else an asset each. */
export function add(files, view = "") {
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp)$/i.test(file.name));
  if (!pictures.length) {
    tell(t("That is no picture: give a PNG, JPEG or WebP."));
    return;
  }
  tell("");
  if (view && pictures.length === 1) put(items[active], view, pictures[0]);
  else {
    for (const [name, group] of grouped(pictures)) {
      let item = items[active];
      if (name !== 0 || item.front) {
        const isEmpty = !Object.keys(items[active]).length;
        item = isEmpty ? items[active] : {};
        if (!isEmpty) items.push(item);
      }
      active = items.indexOf(item);
      for (const [place, file] of group) put(item, place, file);
    }
  }
  draw();
}

function grouped(files) {
  const groups = new Map();
  for (const file of files) {
    const found = ENDING.exec(file.name.replace(/\.\w+$/, ""));
    const place = found ? found[2].toLowerCase() : "front";
    const name = found ? found[1] : file.name;
    let key = name;
    for (let number = 2; groups.get(key)?.has(place); number += 1) key = `${name} ${number}`;
    if (!groups.has(key)) groups.set(key, new Map());
    groups.get(key).set(place, file);
  }
  // further views without a front would be pictures of nothing
  for (const group of groups.values()) {
    if (!group.has("front")) {
      const [place, file] = group.entries().next().value;
      group.delete(place);
      group.set("front", file);
    }
  }
  return groups;
}

function put(item, view, file) {
  if (item[view]) drop(item[view]);
  const slot = { file, name: file.name, original: URL.createObjectURL(file), isBusy: true, problem: "", subject: null };
  item[view] = slot;
  cutOut(item, view, slot);
}

function drop(slot) {
  slot.isGone = true;
  if (slot.original) URL.revokeObjectURL(slot.original);
}

async function cutOut(item, view, slot, subject = undefined) {
  slot.isBusy = true;
  slot.problem = "";
  draw();
  try {
    slot.data ??= await dataOf(slot.file);
    const [found] = await tasks({ taskType: "cutOutSubject", taskUUID: newUuid(), image: slot.data, ...(subject ? { subject } : {}) });
    if (slot.isGone) return;
    slot.upload = found;
    slot.subject = subject ?? null;
    slot.preview = pathOf(found.mediaURL);
    const warnings = (found.warnings ?? []).map((text, index) => said({ message: text, ...(found.warningTemplates?.[index] ?? {}) }));
    slot.warnings = warnings;
    if (warnings.length) announce(warnings.join(" "));
  } catch (error) {
    if (slot.isGone) return;
    slot.upload = null;
    slot.preview = "";
    slot.problem = error.message;
    announce(error.message);
  }
  slot.isBusy = false;
  draw();
}

async function dataOf(file) {
  const smaller = await madeSmaller(file);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.replace(/^data:[^,]*,/, `data:${smaller.type || "image/png"};base64,`));
    reader.onerror = () => reject(new Error(t("The picture cannot be read; choose it again.")));
    reader.readAsDataURL(smaller);
  });
}

/** A picture that the service would find too large, reduced; any other as it is. */
async function madeSmaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file; // the service says what is wrong with it
  }
  const { width, height } = bitmap;
  if (width * height <= MOST_PIXELS) {
    bitmap.close();
    return file;
  }
  const scale = LARGE_SIDE / Math.max(width, height);
  const canvas = h("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/png"));
}

// What is shown

function draw() {
  if (!items.length) items = [{}];
  active = Math.min(active, items.length - 1);
  drawItems();
  drawSlots();
  drawButton();
}

function drawItems() {
  const box = $("items");
  box.hidden = items.length < 2;
  box.setAttribute("aria-label", t("Assets to be made"));
  fill(
    box,
    items.map((item, index) => {
      const shown = item.front?.preview || item.front?.original || "";
      return h(
        "button",
        { class: "item", "aria-pressed": String(index === active), title: item.front?.name ?? "", onclick: () => ((active = index), draw()) },
        shown ? shot(shown, t("Asset {number}", { number: index + 1 })) : String(index + 1),
      );
    }),
  );
}

function drawSlots() {
  const item = items[active];
  const hasFront = Boolean(item.front);
  $("slots").hidden = !hasFront;
  $("slots").setAttribute("aria-label", t("Pictures of one object"));
  fill($("slots"), VIEWS.map(([view, label]) => (item[view] ? filledSlot(item, view, label) : emptySlot(view, label))));
}

function emptySlot(view, label) {
  const input = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => input.files.length && add(input.files, view) });
  return h(
    "div",
    { class: "slot empty-slot", data: { view } },
    h("button", { class: "add", onclick: () => input.click(), "aria-label": t("Add the {view} view", { view: t(label) }) }, h("span", { class: "plus", ariaHidden: "true" }, "+"), h("span", {}, t(label))),
    input,
  );
}

function filledSlot(item, view, label) {
  const slot = item[view];
  const shown = slot.preview || slot.original;
  const remove = () => {
    drop(slot);
    delete item[view];
    if (!item.front) {
      const [first] = Object.keys(item);
      if (first) ((item.front = item[first]), delete item[first]);
      else if (items.length > 1) items.splice(active, 1);
    }
    draw();
  };
  const mark = async () => {
    const subject = await askForSubject(slot.original, slot.subject);
    if (subject) cutOut(item, view, slot, subject);
  };
  return h(
    "figure",
    { class: "slot", data: { view }, "aria-busy": String(Boolean(slot.isBusy)) },
    h("div", { class: "checker" }, shown ? shot(shown, t("{view}: {name}", { view: t(label), name: slot.name })) : null, slot.isBusy ? h("span", { class: "busy" }, t("Cutting the subject out")) : null),
    h("figcaption", {}, t(label)),
    slot.problem ? h("p", { class: "problem" }, slot.problem) : (slot.warnings ?? []).map((text) => h("p", { class: "fine" }, text)),
    h(
      "div",
      { class: "row tight" },
      slot.file ? h("button", { onclick: mark, disabled: slot.isBusy }, t("Mark the Subject...")) : null,
      h("button", { class: "quiet", onclick: remove, "aria-label": t("Remove the {view} view", { view: t(label) }) }, t("Remove")),
    ),
  );
}

function shot(address, alt) {
  const image = h("img", { alt });
  if (address.startsWith("/page/")) import("./api.js").then(async ({ picture }) => (image.src = (await picture(address)) ?? ""));
  else image.src = address;
  return image;
}

function drawButton() {
  const ready = items.filter((item) => item.front);
  const all = ready.flatMap((item) => Object.values(item));
  const isBusy = all.some((slot) => slot.isBusy);
  const bad = all.find((slot) => slot.problem);
  const why = isSending ? t("Sending") : !ready.length ? t("Choose an image first") : isBusy ? t("Cutting the subject out") : bad ? t("One of the pictures cannot be used yet.") : "";
  $("generate").disabled = Boolean(why);
  $("generate").textContent = ready.length > 1 ? t("Generate {count} Assets", { count: ready.length }) : t("Generate");
  $("compose-why").textContent = why;
}

function tell(text) {
  $("compose-problem").textContent = text;
}

// Off

async function generate() {
  const wrong = form.problem();
  if (wrong) {
    tell(wrong.text);
    wrong.input.focus();
    return;
  }
  tell("");
  isSending = true;
  drawButton();
  const settings = form.values();
  try {
    while (items.some((item) => item.front)) {
      const item = items.find((each) => each.front);
      const { front, ...views } = item;
      await order(settings, { image: front.upload.mediaUUID, views: Object.fromEntries(Object.entries(views).map(([view, slot]) => [view, slot.upload.mediaUUID])) });
      Object.values(item).forEach(drop);
      items.splice(items.indexOf(item), 1);
    }
    announce(t("On its way"));
  } catch (error) {
    tell(error.message);
  }
  isSending = false;
  draw();
}

/** Send a task; its UUID. */
export async function order(settings, { image = "", views = {}, latents = "" }) {
  const taskUUID = newUuid();
  const inputs = {};
  if (image) inputs.image = image;
  if (Object.keys(views).length) inputs.views = views;
  if (latents) inputs.latents = latents;
  await tasks({ taskType: "3dInference", taskUUID, model: table.model, ...merged(nested(table, settings), { inputs }) });
  return taskUUID;
}

const merged = (first, second) => ({ ...first, ...second, inputs: { ...first.inputs, ...second.inputs } });

export function connect() {
  $("choose").onclick = () => $("files").click();
  for (const id of ["files", "camera-file"]) {
    $(id).onchange = (event) => {
      if (event.target.files.length) add(event.target.files);
      event.target.value = "";
    };
  }
  $("camera").onclick = () => takePicture((file) => add([file]));
  $("generate").onclick = generate;
  let depth = 0; // a drag enters each element that it passes over
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (isFile(event)) document.body.classList.toggle("dragging", (depth += 1) > 0);
  });
  addEventListener("dragleave", (event) => {
    if (isFile(event)) document.body.classList.toggle("dragging", (depth -= 1) > 0);
  });
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    const view = event.target.closest?.("[data-view]")?.dataset.view ?? "";
    if (!$("studio").hidden) add(event.dataTransfer.files, view);
  });
  addEventListener("paste", (event) => {
    if ($("studio").hidden || !event.clipboardData?.files.length) return;
    event.preventDefault();
    add(event.clipboardData.files);
  });
}
