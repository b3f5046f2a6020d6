// The tasks as cards, the newest first. A thousand of them scroll: what is out of sight is not drawn, and has no picture.

import { get, picture, pathOf } from "./api.js";
import { $, announce, h } from "./dom.js";
import { number, said, t, when } from "./words.js";

const PICTURES_AT_ONCE = 4;
const CARDS_AT_ONCE = 10; // are made before the browser may do something else

const cards = new Map(); // by task: { task, element, parts }
const listeners = new Set();
let next = null; // where the list goes on, if it does
let isBegun = false;
let isReading = false;
let own = ""; // the name of whoever is signed in

export const taskOf = (uuid) => cards.get(uuid)?.task;

export function begin(person) {
  own = person;
}

/** Be told of each task that has changed, and of those gone (with null). */
export function whenChanged(listener) {
  listeners.add(listener);
}

/** Read the newest tasks, in place of all that is shown. */
export async function readAnew() {
  const answer = await get("/page/tasks");
  const shown = new Set(answer.tasks.map((task) => task.taskUUID));
  if (![...cards.keys()].some((uuid) => shown.has(uuid))) clear();
  for (const task of [...answer.tasks].reverse()) show(task);
  if (!isBegun) {
    isBegun = true;
    next = answer.next;
  }
  count();
}

/** Forget everything: somebody else may sign in next. */
export function clear() {
  for (const uuid of [...cards.keys()]) remove(uuid);
  $("gallery").replaceChildren();
  next = null;
  isBegun = false;
  count();
}

/** Show a task as it is now; what is older than what is shown already is passed over. */
export function show(task) {
  const card = cards.get(task.taskUUID);
  if (card && card.task.change > task.change) return;
  if (card) {
    const before = card.task.status;
    card.task = task;
    draw(card);
    if (before !== task.status && (task.status === "success" || task.status === "error")) announce(statusOf(task));
  } else {
    const made = make(task);
    cards.set(task.taskUUID, made);
    insert(made);
    count();
  }
  for (const listener of listeners) listener(task.taskUUID, task);
}

export function remove(uuid) {
  const card = cards.get(uuid);
  if (!card) return;
  letGo(card);
  inSight.unobserve(card.element);
  card.element.remove();
  cards.delete(uuid);
  count();
  for (const listener of listeners) listener(uuid, null);
}

/** Put a card where it belongs: the newest first. Nearly always that is at one of the ends. */
function insert(card) {
  const list = $("gallery");
  const place = (element) => cards.get(element.dataset.uuid)?.task.created ?? 0;
  const first = list.firstElementChild;
  if (!first || card.task.created > place(first)) {
    list.prepend(card.element);
    return;
  }
  let before = list.lastElementChild;
  while (before && place(before) < card.task.created) before = before.previousElementSibling;
  before.after(card.element);
}

function count() {
  const total = cards.size;
  const words = total === 1 ? t("1 task") : t("{count} tasks", { count: number(total) });
  $("total").textContent = next === null ? words : t("{count} tasks, and older ones", { count: number(total) });
  $("empty").hidden = total > 0;
}

async function readMore() {
  if (next === null || isReading) return;
  isReading = true;
  try {
    const answer = await get(`/page/tasks?before=${next}`);
    for (const [index, task] of answer.tasks.entries()) {
      if (index % CARDS_AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      if (cards.has(task.taskUUID)) continue;
      const made = make(task);
      cards.set(task.taskUUID, made);
      insert(made);
    }
    next = answer.next;
    count();
  } finally {
    isReading = false;
  }
  if (next !== null) watch();
}

const atEnd = new IntersectionObserver(
  (entries) => {
    if (entries.some((entry) => entry.isIntersecting)) readMore().catch(() => {});
  },
  { rootMargin: "1500px" },
);

const inSight = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const card = cards.get(entry.target.dataset.uuid);
      if (!card) continue;
      card.isInSight = entry.isIntersecting;
      if (card.isInSight) want(card);
      else letGo(card);
    }
  },
  { rootMargin: "600px" },
);

/** Begin to look at where the reader is; anew after each reading, as the end may have come near unseen meanwhile. */
export function watch() {
  atEnd.disconnect();
  atEnd.observe($("more"));
}

// Cards

function make(task) {
  const image = h("img", { alt: "", class: "shot", decoding: "async" });
  const bar = h("progress", { max: 100, hidden: true });
  const state = h("span", { class: "state" });
  const facts = h("span", { class: "facts" });
  const link = h("a", { class: "open", href: `#task=${task.taskUUID}` }, h("span", { class: "frame" }, image), state, bar, facts);
  const get = h("a", { class: "get", hidden: true }, t("Download"));
  const element = h("li", { class: "card", data: { uuid: task.taskUUID } }, link, get);
  const card = { task, element, image, bar, state, facts, link, get, isInSight: false, shown: "", loading: null };
  draw(card);
  inSight.observe(element);
  return card;
}

function draw(card) {
  const { task } = card;
  card.element.dataset.status = task.status;
  card.state.textContent = statusOf(task);
  const whose = task.person === own ? "" : task.person;
  card.facts.textContent = [when(task.created), whose, t("seed {seed}", { seed: task.seed })].filter(Boolean).join(" · ");
  const isOnItsWay = task.status === "running" || task.status === "waiting";
  card.bar.hidden = !isOnItsWay;
  if (task.status === "running") card.bar.value = progressOf(task);
  else card.bar.removeAttribute("value");
  card.bar.setAttribute("aria-label", t("Progress"));
  const file = fileOf(task.results.find((result) => result.status === "success"));
  card.get.hidden = !file;
  if (file) {
    card.get.href = file;
    card.get.download = fileName(task, task.results.findIndex((result) => result.status === "success"));
    card.get.setAttribute("aria-label", t("Download the asset of {time}", { time: when(task.created) }));
  }
  if (card.isInSight) want(card);
}

/** Where a result's file lies; "" where there is none. */
export function fileOf(result) {
  const url = result?.outputs?.files?.[0]?.url;
  return url ? (url.startsWith("/") ? url : pathOf(url)) : "";
}

export function fileName(task, index) {
  const number = task.results.length > 1 ? `-${index + 1}` : "";
  return `asset-${task.taskUUID.slice(0, 8)}${number}.glb`;
}

/** How far a task is, in percent, over all its results. */
export function progressOf(task) {
  const each = task.results.map((result) => (["running", "waiting"].includes(result.status) ? (result.progress ?? 0) : 100));
  return Math.round(each.reduce((sum, one) => sum + one, 0) / each.length);
}

/** A task's state in words. */
export function statusOf(task) {
  if (task.status === "running") {
    const running = task.results.find((result) => result.status === "running");
    const stage = running ? said({ message: running.stage, ...(running.stageTemplate ?? {}) }) : t("Running");
    return t("{what}: {done} %", { what: stage, done: number(progressOf(task)) });
  }
  if (task.status === "waiting") return t("Waiting");
  if (task.status === "cancelled") return t("Cancelled");
  if (task.status === "error") return said(task.results.find((result) => result.error)?.error ?? "");
  const good = task.results.filter((result) => result.status === "success").length;
  return task.results.length === 1 ? t("Done") : t("{done} of {count} results", { done: good, count: task.results.length });
}

/** The address of a task's small picture: of its first asset, or else of what went in. */
function shotOf(task) {
  const index = task.results.findIndex((result) => result.status === "success");
  if (index >= 0) return `/page/tasks/${task.taskUUID}/results/${index}`;
  const early = task.results.findLast((result) => result.preview);
  if (early) return early.preview; // what it looks like by now
  return task.pictures.length ? `/page/tasks/${task.taskUUID}/pictures/front` : "";
}

// Pictures: a few are fetched at a time, and only while their card is in sight.

const wanted = [];
let fetching = 0;

function want(card) {
  const shot = shotOf(card.task);
  if (!shot || card.shown === shot || card.loading?.shot === shot) return;
  card.loading?.stop.abort();
  if (shot.startsWith("data:")) {
    put(card, shot);
    card.shown = shot;
    card.loading = null;
    return;
  }
  card.loading = { shot, stop: new AbortController() };
  wanted.push(card);
  fetchNext();
}

function fetchNext() {
  while (fetching < PICTURES_AT_ONCE && wanted.length) {
    const card = wanted.pop();
    const job = card.loading;
    if (!job || job.stop.signal.aborted) continue;
    fetching += 1;
    picture(job.shot, job.stop.signal)
      .then(async (address) => {
        const instead = `/page/tasks/${card.task.taskUUID}/pictures/front`;
        if (!address && job.shot !== instead && card.task.pictures.length) address = await picture(instead, job.stop.signal);
        if (job.stop.signal.aborted || card.loading !== job) {
          if (address) URL.revokeObjectURL(address);
          return;
        }
        if (address) put(card, address);
        card.shown = job.shot;
        card.loading = null;
      })
      .catch(() => {
        if (card.loading === job) card.loading = null;
      })
      .finally(() => {
        fetching -= 1;
        fetchNext();
      });
  }
}

/** Show another picture; the one before needs no memory any more. */
function put(card, address) {
  if (card.image.src.startsWith("blob:")) URL.revokeObjectURL(card.image.src);
  if (address) card.image.src = address;
  else card.image.removeAttribute("src");
}

function letGo(card) {
  card.loading?.stop.abort();
  card.loading = null;
  put(card, "");
  card.shown = "";
}
