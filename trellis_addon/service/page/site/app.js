// The page: who is signed in, what the service says of itself, and which task is open.

import { enter, forget, get, listen } from "./api.js";
import * as compose from "./compose.js";
import { $, announce, fill, h } from "./dom.js";
import * as gallery from "./gallery.js";
import * as office from "./office.js";
import * as task from "./task.js";
import { bytes, number, readWords, said, t } from "./words.js";

let stop = null;
let table = null;
let isAdministrator = false;

async function begin() {
  await readWords();
  document.title = t("TRELLIS.2 Service");
  compose.connect();
  $("sign-in").addEventListener("submit", signIn);
  $("sign-out").onclick = () => signOut("");
  $("show-service").onclick = () => {
    $("service").hidden = !$("service").hidden;
    $("show-service").setAttribute("aria-expanded", String(!$("service").hidden));
    showOffice();
  };
  addEventListener("hashchange", follow);
  $("entrance").hidden = false;
  $("token").focus();
}

async function signIn(event) {
  event.preventDefault();
  const given = $("token").value.trim();
  $("sign-in-problem").textContent = "";
  try {
    const state = await enter(given, signOut);
    $("token").value = "";
    await start(state);
  } catch (error) {
    $("sign-in-problem").textContent = error.message;
    $("token").select();
  }
}

async function start(state) {
  if (!table) {
    table = await get("/page/settings");
    compose.begin(table);
    task.begin(table);
  }
  $("entrance").hidden = true;
  $("studio").hidden = false;
  gallery.begin(state.person);
  tell(state);
  stop = new AbortController();
  await gallery.readAnew();
  gallery.watch();
  listen(heard, line, stop.signal);
  follow();
  $("choose").focus({ preventScroll: true });
}

/** Forget the token and all that was shown; `why` is said where it was not the user's wish. */
function signOut(why) {
  stop?.abort();
  forget();
  task.close();
  gallery.clear();
  if (table) compose.reset();
  office.close();
  isAdministrator = false;
  fill($("service"));
  $("studio").hidden = true;
  $("entrance").hidden = false;
  $("sign-in-problem").textContent = why;
  $("token").focus();
}

function heard(event, data) {
  if (event === "task") gallery.show(data);
  else if (event === "gone") gallery.remove(data.taskUUID);
  else if (event === "state") tell(data);
  else if (event === "out") signOut(t("The token is not this service's any more; sign in with another one."));
}

function line(isOpen) {
  $("trouble").hidden = isOpen;
  $("trouble").textContent = isOpen ? "" : t("The service does not answer; it is tried again.");
  // what happened meanwhile is in the list
  if (isOpen) gallery.readAnew().catch(() => {});
}

/** Show what the service says of itself. */
function tell(state) {
  compose.tellEngine(state.engine.startsWith("draft:"));
  const parts = [t("{running} running, {waiting} waiting", { running: number(state.running), waiting: number(state.waiting) })];
  if (state.obstacle) parts.push(said(state.obstacle));
  $("line").textContent = parts.join(" · ");
  const rows = [
    [t("Signed in as"), state.person],
    [t("Version"), state.version],
    [t("Engine"), state.engine],
    [t("Devices"), state.devices.join(", ") || t("Known with the first task")],
    [t("Worked on at a time"), number(state.workers)],
    [t("Waiting"), number(state.waiting)],
    [t("Disk"), t("{free} free of {total}", { free: bytes(state.disk.free), total: bytes(state.disk.total) })],
    [t("Kept files"), bytes(state.disk.kept)],
  ];
  isAdministrator = state.role === "administrator";
  if (!$("office")) {
    fill($("service"), h("h2", { id: "service-title" }, t("Service")), h("dl", { id: "facts" }), h("div", { id: "office", class: "office" }));
    showOffice();
  }
  fill($("facts"), rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** An administrator's view, while the service is shown. */
function showOffice() {
  if (isAdministrator && $("office") && !$("service").hidden) office.open($("office"));
  else office.close();
}

/** Open the task that the address names: a link to it can be sent to whoever has a token. */
function follow() {
  if ($("studio").hidden) return;
  const found = /^#task=([0-9a-f-]{36})$/i.exec(location.hash);
  if (found) task.openTask(found[1]);
  else task.close();
}

begin().catch((error) => announce(error.message));
