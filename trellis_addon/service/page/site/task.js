// One task, opened: what went in, what came out side by side and turned in 3D, and what can be made of it next.

import { get, picture, tasks } from "./api.js";
import { order, takeOver } from "./compose.js";
import { $, announce, fill, h, open } from "./dom.js";
import { fileName, fileOf, progressOf, statusOf, whenChanged } from "./gallery.js";
import { inWords, settingsForm } from "./settings.js";
import { bytes, number, said, seconds, t, when } from "./words.js";

let table = null;
let current = null; // the task that is open
let drawn = ""; // what of it is drawn
let addresses = [];
let viewer = null; // whether model-viewer is there, once that is known

export function begin(settings) {
  table = settings;
}

whenChanged((uuid, task) => {
  if (current?.taskUUID !== uuid) return;
  if (task) show(task);
  else $("task").close();
});

/** Open a task by its UUID, known or not. */
export async function openTask(uuid) {
  let answer;
  try {
    answer = await get(`/page/tasks/${encodeURIComponent(uuid)}`);
  } catch (error) {
    if (error.status === 401) return;
    fill($("task"), head(t("Task {uuid}", { uuid })), h("p", { class: "problem" }, error.message));
    open($("task"), closed);
    return;
  }
  drawn = "";
  show(answer.task);
  open($("task"), closed);
}

export function close() {
  if ($("task").open) $("task").close();
}

function closed() {
  current = null;
  drawn = "";
  fill($("task"));
  for (const address of addresses) URL.revokeObjectURL(address);
  addresses = [];
  if (location.hash) history.replaceState(null, "", location.pathname);
}

function head(title) {
  return h("div", { class: "task-head" }, h("h2", { id: "task-title" }, title), h("button", { class: "quiet", onclick: close, "aria-label": t("Close") }, "✕"));
}

function show(task) {
  current = task;
  // a task on its way changes many times a second: only what has changed is drawn anew
  const shape = JSON.stringify([task.status, task.results.map((result) => result.status)]);
  if (shape === drawn) {
    drawProgress(task);
    return;
  }
  drawn = shape;
  fill(
    $("task"),
    head(t("Task of {time}", { time: when(task.created) })),
    h("p", { class: "state", id: "task-state" }),
    h("progress", { id: "task-progress", max: 100, "aria-label": t("Progress") }),
    h("div", { class: "task-body" }, results(task), facts(task)),
  );
  drawProgress(task);
}

function drawProgress(task) {
  const bar = $("task-progress");
  $("task-state").textContent = statusOf(task);
  bar.hidden = !["running", "waiting"].includes(task.status);
  if (task.status === "running") bar.value = progressOf(task);
  for (const image of $("task").querySelectorAll(".early")) {
    const { preview } = task.results[Number(image.dataset.index)]; // what it looks like by now
    image.hidden = !preview;
    if (preview && image.src !== preview) image.src = preview;
  }
}

// What came out

function results(task) {
  return h("div", { class: "results", data: { count: String(task.results.length) } }, task.results.map((result, index) => resultOf(task, result, index)));
}

function resultOf(task, result, index) {
  const title = task.results.length > 1 ? t("Result {number} of {count}", { number: index + 1, count: task.results.length }) : t("Result");
  if (result.status !== "success") {
    const words = result.error ? said(result.error) : statusOf({ ...task, status: result.status, results: [result] });
    const early = h("img", { class: "early", alt: "", hidden: true, data: { index: String(index) } });
    return h("figure", { class: "result" }, h("div", { class: "stand checker waiting" }, early, h("p", {}, words)), h("figcaption", {}, title));
  }
  const image = h("img", { alt: title });
  const stand = h("div", { class: "stand" }, image);
  shown(`/page/tasks/${task.taskUUID}/results/${index}`).then((address) => {
    if (address) image.src = address;
    turn(stand, image, fileOf(result), title);
  });
  const download = (className) => h("a", { class: className, href: fileOf(result), download: fileName(task, index) }, t("Download"));
  return h(
    "figure",
    { class: "result" },
    stand,
    h("figcaption", {}, title, h("span", { class: "fine" }, ` ${t("seed {seed}", { seed: result.seed })}`)),
    task.settings.rough ? goOn(task, result, download("button")) : download("button primary"),
  );
}

/** The rest of a rough shape, in a task of its own; this one stays open, as several may be chosen. */
function goOn(task, result, download) {
  const why = hasPictures(task) ? "" : notKept();
  const problem = h("p", { class: "problem", role: "alert" });
  const { rough: _rough, number_results: _count, ...kept } = task.settings;
  const begin = async () => {
    button.disabled = true;
    problem.textContent = "";
    try {
      // a draft keeps nothing of it: the same picture and seed come to the same form
      await order({ ...kept, seed: result.seed }, { image: task.image, views: task.views, latents: result.latents?.uuid ?? "" });
      fill(button, t("On its way"));
      announce(t("On its way"));
    } catch (error) {
      problem.textContent = error.message;
      button.disabled = false;
    }
  };
  const button = h("button", { class: "primary go-on", onclick: begin, disabled: Boolean(why), title: why || t("The whole asset of this rough shape; nothing is sampled twice") }, t("Go On"));
  return [h("div", { class: "row" }, button, download), problem];
}

const hasPictures = (task) => Boolean(task.image) && Object.values(task.views).every(Boolean);
const notKept = () => t("Its picture came with the task and is not kept here: send it again from where it came from.");

/** Put the asset itself in the place of its picture, to be turned; where there is no model-viewer the picture stays. */
async function turn(stand, image, file, title) {
  if (!(await hasViewer())) {
    stand.append(h("p", { class: "fine" }, t("This installation shows pictures only: it was built without model-viewer.")));
    return;
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const model = h("model-viewer", {
    src: file,
    alt: title,
    "camera-controls": true,
    "touch-action": "pan-y",
    "shadow-intensity": "0.6",
    "interaction-prompt": "none",
    "camera-orbit": "30deg 75deg auto",
    "auto-rotate": !calm,
  });
  model.append(h("span", { slot: "progress-bar" })); // in place of its own: until it is there, its picture is
  const loaded = () => {
    image.remove();
    // what it announces is this result's: of several, each region has a name of its own
    model.shadowRoot?.querySelector('[role="region"]')?.setAttribute("aria-label", title);
  };
  model.addEventListener("load", loaded, { once: true });
  model.addEventListener("error", () => model.remove(), { once: true });
  stand.prepend(model);
}

function hasViewer() {
  if (!table.viewer) return Promise.resolve(false);
  // what compressed files would need lies elsewhere, and ours are none
  self.ModelViewerElement ??= { dracoDecoderLocation: "/page/", ktx2TranscoderLocation: "/page/", lottieLoaderLocation: "/page/" };
  self.WebAssembly = undefined; // for compressed meshes alone: the page's policy forbids what it would need
  viewer ??= import(table.viewer).then(
    () => true,
    () => false,
  );
  return viewer;
}

async function shown(path) {
  try {
    const address = await picture(path);
    if (address) addresses.push(address);
    return address;
  } catch {
    return null;
  }
}

// What went in, what it took

function facts(task) {
  const good = task.results.filter((result) => result.status === "success");
  const [first] = good;
  const rows = [
    [t("State"), statusOf(task)],
    [t("Seed"), task.seed],
    ...inWords(table, task.settings),
    first ? [t("Engine"), first.engine] : null,
    ...performance(good),
    first && first.cost !== undefined ? [t("Cost"), first.cost ? t("{cost} US dollars", { cost: number(first.cost) }) : t("Nothing")] : null,
  ].filter(Boolean);
  const notes = good.flatMap((result) => (result.notes ?? []).map((note, index) => said({ message: note, ...(result.noteTemplates?.[index] ?? {}) })));
  return h(
    "div",
    { class: "facts-column" },
    actions(task),
    pictures(task),
    h("h3", {}, t("Settings")),
    h("dl", {}, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    notes.length ? [h("h3", {}, t("Notes")), h("ul", {}, [...new Set(notes)].map((note) => h("li", {}, note)))] : null,
    stages(good),
    h("p", { class: "fine uuid" }, task.taskUUID),
  );
}

/** What the results took: each one's time, the devices, the most memory. */
function performance(good) {
  const told = good.map((result) => result.performance ?? {});
  const times = told.filter((each) => each.seconds !== undefined).map((each) => seconds(each.seconds));
  const devices = [...new Set(told.map((each) => each.device).filter(Boolean))];
  const memory = Math.max(0, ...told.map((each) => each.peakMemory ?? 0));
  return [
    times.length ? [t("Took"), times.join(" · ")] : null,
    devices.length ? [t("Device"), devices.join(" · ")] : null,
    memory ? [t("Memory"), bytes(memory)] : null,
  ].filter(Boolean);
}

function stages(good) {
  const [first] = good.filter((result) => result.stages?.length);
  if (!first) return null;
  const rows = first.stages.map((stage) => h("tr", {}, h("th", { scope: "row" }, said({ message: stage.stage, ...(stage.stageTemplate ?? {}) })), h("td", {}, seconds(stage.seconds))));
  return h("details", {}, h("summary", {}, t("Stages")), h("table", {}, rows));
}

function pictures(task) {
  if (!task.pictures.length) return null;
  const labels = { front: t("Front"), right: t("Right"), back: t("Back"), left: t("Left") };
  const shots = task.pictures.map((view) => {
    const label = labels[view] ?? t("{degrees} degrees", { degrees: view });
    const image = h("img", { alt: t("Picture: {view}", { view: label }) });
    const figure = h("figure", { class: "checker" }, image);
    shown(`/page/tasks/${task.taskUUID}/pictures/${encodeURIComponent(view)}`).then((address) => {
      if (address) image.src = address;
      else fill(figure, h("p", { class: "fine" }, t("Its picture is not kept here.")));
    });
    return figure;
  });
  return h("div", { class: "pictures" }, shots);
}

// What can be done

function actions(task) {
  const isOnItsWay = ["running", "waiting"].includes(task.status);
  const isSendable = hasPictures(task);
  const why = isSendable ? "" : notKept();
  const problem = h("p", { class: "problem", role: "alert" });
  const tried = (work) => async () => {
    problem.textContent = "";
    try {
      await work();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const again = (settings, inputs) =>
    tried(async () => {
      const uuid = await order(settings, inputs);
      announce(t("On its way"));
      location.hash = `task=${uuid}`;
    });
  const inputs = { image: task.image, views: task.views };
  const { seed: _, ...unseeded } = task.settings;
  // those of a rough shape are gone on from, each by itself
  const latents = task.settings.rough ? "" : task.results.find((result) => result.latents)?.latents.uuid;
  const seeded = { ...unseeded, seed: task.seed };
  const address = h("input", { readOnly: true, hidden: true, value: `${location.origin}/#task=${task.taskUUID}`, "aria-label": t("Link") });
  const copy = tried(async () => {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(address.value);
      announce(t("Copied"));
      return;
    }
    address.hidden = false; // over plain HTTP from another machine a page cannot write to the clipboard
    address.select();
  });
  const button = (label, work, properties = {}) => h("button", { onclick: work, ...properties }, label);
  return h(
    "div",
    { class: "actions" },
    h(
      "div",
      { class: "row" },
      isOnItsWay ? button(t("Cancel"), tried(() => tasks({ taskType: "cancelTask", taskUUID: task.taskUUID })), { class: "danger" }) : null,
      task.isRework ? null : button(t("Repeat"), again(seeded, inputs), { disabled: !isSendable, title: why || t("The same picture, settings and seed once more") }),
      task.isRework ? null : button(t("More Like This"), again(unseeded, inputs), { disabled: !isSendable, title: why || t("The same picture and settings with another seed") }),
      task.isRework ? null : button(t("Use Settings"), () => (close(), takeOver(task)), { title: t("Take its picture and settings over, to change some") }),
      latents ? button(t("Texture Again"), again(textured(task), { latents, image: task.image }), { disabled: !task.image, title: why || t("The same shape with a new texture") }) : null,
      button(t("Copy Link"), copy, { class: "quiet", title: t("For somebody who has a token") }),
    ),
    address,
    isSendable || task.isRework ? null : h("p", { class: "fine" }, why),
    latents ? finishing(task, latents, again) : null,
    latents && hasPictures ? varying(task, latents, again) : null,
    problem,
  );
}

/** The settings that hold for a new texture of a shape: without its seed. */
function textured(task) {
  const { seed: _seed, number_results: _count, texture: _texture, ...kept } = task.settings;
  return kept;
}

/** Relatives of an asset: how far they may go from it, how many, with which seed; all else is as it was. */
function varying(task, latents, again) {
  const only = (field) => field.isOfLatents || ["number_results", "seed"].includes(field.name);
  const form = settingsForm(table, { only, presets: false, prefix: "vary" });
  form.set({ variation: 0.5 });
  const send = () => {
    const { project_picture: _picture, ...kept } = textured(task);
    return again({ ...kept, ...form.values() }, { latents, image: task.image, views: task.views })();
  };
  return h(
    "details",
    {},
    h("summary", {}, t("Variations...")),
    h("p", { class: "fine" }, t("Relatives of this asset: near to it with a small variation, far with a large one.")),
    form.element,
    h("button", { onclick: send }, t("Make Variations")),
  );
}

function finishing(task, latents, again) {
  const form = settingsForm(table, { only: (field) => field.isFinishing, presets: false, prefix: "finish" });
  form.set(task.settings);
  return h(
    "details",
    {},
    h("summary", {}, t("Finish Again...")),
    h("p", { class: "fine" }, t("The same asset with another number of faces or another size of texture; nothing is sampled.")),
    form.element,
    h("button", { onclick: () => again(form.values(), { latents })() }, t("Finish Again")),
  );
}
