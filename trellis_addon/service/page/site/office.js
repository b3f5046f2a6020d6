// What an administrator's token sees and does: devices, memory, the row by person, errors; pause, drain, cancel, revoke.

import { get, post } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { bytes, number, said, t, when } from "./words.js";

const PAUSE = 5; // seconds between two looks

let box = null;
let timer = 0;

/** Show the office in this element, and keep it as it is now, until `close`. */
export function open(element) {
  close();
  box = element;
  look();
}

export function close() {
  clearTimeout(timer);
  box = null;
}

async function look() {
  const here = box;
  clearTimeout(timer);
  try {
    const seen = await get("/v1/admin");
    if (box !== here || !here) return;
    draw(seen);
  } catch (error) {
    if (box !== here || !here) return;
    fill(here, h("p", { class: "problem" }, error.message));
  }
  timer = setTimeout(look, PAUSE * 1000);
}

/** Do something at an address of the office's, and look what has come of it. */
const act = (path, words, question = "") => async () => {
  if (question && !confirm(question)) return;
  try {
    await post(`/v1/admin${path}`);
    announce(words);
  } catch (error) {
    announce(error.message);
    alert(error.message);
  }
  look();
};

function draw(seen) {
  const focused = document.activeElement?.dataset?.act; // what is drawn anew keeps the keyboard's place
  const button = (name, label, work, properties = {}) => h("button", { data: { act: name }, onclick: work, ...properties }, label);
  fill(
    box,
    h("h3", {}, t("Administration")),
    h("p", {}, seen.draining ? t("Takes no more tasks in") : seen.paused ? t("Paused: nothing begins") : t("Works as usual")),
    h(
      "div",
      { class: "row" },
      seen.paused ? null : button("pause", t("Pause"), act("/pause", t("Paused: nothing begins"))),
      seen.draining ? null : button("drain", t("Let It Run Empty"), act("/drain", t("Takes no more tasks in"))),
      seen.paused || seen.draining ? button("resume", t("Go On"), act("/resume", t("Works as usual")), { class: "primary" }) : null,
    ),
    devices(seen),
    people(seen, button),
    errors(seen),
  );
  if (focused) box.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus();
}

function devices(seen) {
  const rows = seen.devices.map((device) => [
    device.model ? `${device.name}: ${device.model}` : device.name,
    device.total ? t("{free} free of {total}", { free: bytes(device.free), total: bytes(device.total) }) : "",
  ]);
  if (seen.memory.total) rows.push([t("Memory"), t("{free} free of {total}", { free: bytes(seen.memory.free), total: bytes(seen.memory.total) })]);
  if (seen.disk.quota) rows.push([t("Kept files"), t("{used} of {quota}", { used: bytes(seen.disk.files), quota: bytes(seen.disk.quota) })]);
  return h("dl", {}, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function people(seen, button) {
  const heading = (text, isNumber) => h("th", { scope: "col", class: isNumber ? "number" : "" }, text);
  const rows = seen.people.map((person) => {
    const canRevoke = person.hasToken && person.isValid && person.role !== undefined && person.name !== "administrator";
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, person.name),
      h("td", {}, number(person.running)),
      h("td", {}, number(person.waiting)),
      h("td", {}, person.dailyLimit ? t("{used} of {quota}", { used: number(person.usedToday), quota: number(person.dailyLimit) }) : number(person.usedToday)),
      h(
        "td",
        {},
        h(
          "div",
          { class: "row tight end" },
          person.unfinished
            ? button(`cancel-${person.name}`, t("Cancel All"), act(`/people/${encodeURIComponent(person.name)}/cancel`, t("Cancelled"), t("Cancel all tasks of {person}?", { person: person.name })), { class: "small" })
            : null,
          canRevoke
            ? button(`revoke-${person.name}`, t("Revoke"), act(`/people/${encodeURIComponent(person.name)}/revoke`, t("Revoked"), t("Have the token of {person} count no more?", { person: person.name })), { class: "small danger" })
            : null,
        ),
      ),
    );
  });
  return h(
    "div",
    { class: "wide-table", tabIndex: 0, role: "region", "aria-label": t("People") },
    h(
      "table",
      {},
      h("caption", {}, t("People")),
      h("thead", {}, h("tr", {}, heading(t("Name")), heading(t("Running"), true), heading(t("Waiting"), true), heading(t("Today"), true), h("td", {}))),
      h("tbody", {}, rows),
    ),
  );
}

function errors(seen) {
  if (!seen.errors.length) return h("p", { class: "fine" }, t("Nothing has gone wrong lately."));
  const rows = seen.errors.slice(0, 20).map((error) => h("li", {}, h("span", { class: "fine" }, when(error.time)), " ", said(error)));
  return h("details", {}, h("summary", {}, t("The last errors ({count})", { count: number(seen.errors.length) })), h("ul", {}, rows));
}
