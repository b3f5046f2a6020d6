// The settings by name, made of the service's own table: what is not set is not sent.

import { h } from "./dom.js";
import { number, t } from "./words.js";

const MAIN = ["resolution", "texture_size", "number_results", "rough", "seed"];

/** Fields for settings: `element` to be shown, `values()` what is set, `set(values)`, `draft(isDraft)`. */
export function settingsForm(table, { only = null, presets = true, prefix = "set" } = {}) {
  const fields = new Map();
  const rows = new Map();
  for (const field of table.fields) {
    // meshes are textured by other programs, and what belongs to latents is asked for where they are gone on from
    if (field.isOfMesh || (only ? !only(field) : field.isOfLatents)) continue;
    const input = inputOf(field, `${prefix}-${field.name}`);
    fields.set(field.name, { field, input });
    rows.set(field.name, rowOf(field, input));
  }
  const named = (names) => names.map((name) => rows.get(name)).filter(Boolean);
  const choice = presets ? presetChoice(table, `${prefix}-preset`) : null;
  const rest = [...fields.values()].filter(({ field }) => only || !MAIN.includes(field.name));
  const groups = Object.entries({ "": t("More"), ...table.groups }).map(([group, heading]) => {
    const inside = rest.filter(({ field }) => field.group === group).map(({ field }) => rows.get(field.name));
    return inside.length ? h("fieldset", {}, h("legend", {}, t(heading)), inside) : null;
  });
  const note = h("p", { class: "fine", hidden: true }, t("The draft does without the settings that are dimmed."));
  const element = only
    ? h("div", { class: "fields" }, rest.map(({ field }) => rows.get(field.name)))
    : h("div", { class: "fields" }, choice?.row, named(MAIN), h("details", {}, h("summary", {}, t("All Settings")), note, groups));
  const form = {
    element,
    values() {
      const found = {};
      for (const [name, { field, input }] of fields) {
        const value = valueOf(field, input);
        if (value !== undefined) found[name] = value;
      }
      return found;
    },
    /** What cannot be used of what was entered, as the browser says it; null where all can. */
    problem() {
      const bad = [...fields.values()].find(({ input }) => !input.checkValidity());
      if (!bad) return null;
      bad.input.closest("details")?.setAttribute("open", "");
      return { input: bad.input, text: `${t(bad.field.label)}: ${bad.input.validationMessage}` };
    },
    set(values) {
      for (const [name, { field, input }] of fields) put(field, input, values[name]);
    },
    draft(isDraft) {
      note.hidden = !isDraft;
      for (const [name, { field }] of fields) rows.get(name).classList.toggle("passed-over", isDraft && !field.isForDraft);
    },
  };
  choice?.select.addEventListener("change", () => {
    const preset = table.presets[Number(choice.select.value)];
    form.set(preset ? preset.settings : {});
  });
  return form;
}

/** The fields of a request, nested as the protocol has them. */
export function nested(table, values) {
  const request = {};
  for (const field of table.fields) {
    if (!(field.name in values)) continue;
    const path = field.path.split(".");
    const last = path.pop();
    let place = request;
    for (const part of path) place = place[part] ??= {};
    place[last] = values[field.name];
  }
  return request;
}

/** What is set, as pairs of a name and words for its value. */
export function inWords(table, values) {
  return table.fields
    .filter((field) => field.name in values)
    .map((field) => {
      const heading = table.groups[field.group];
      const label = heading ? t("{group}: {field}", { group: t(heading), field: t(field.label) }) : t(field.label);
      return [label, shown(field, values[field.name])];
    });
}

function shown(field, value) {
  if (typeof value === "boolean") return value ? t("On") : t("Off");
  if (typeof value === "number" && field.name !== "seed") {
    return field.unit ? t("{value} {unit}", { value: number(value), unit: t(field.unit) }) : number(value);
  }
  return String(value);
}

function presetChoice(table, id) {
  const select = h(
    "select",
    { id },
    h("option", { value: "" }, t("The Model's Own")),
    table.presets.map((preset, index) => h("option", { value: String(index) }, t(preset.name))),
  );
  return { select, row: h("div", { class: "field" }, h("label", { htmlFor: id }, t("Preset")), select) };
}

function rowOf(field, input) {
  const hint = h("span", { class: "hint", id: `${input.id}-hint` }, t(field.description));
  input.setAttribute("aria-describedby", hint.id);
  input.title = t(field.description);
  return h("div", { class: field.kind === "boolean" ? "field check" : "field" }, h("label", { htmlFor: input.id }, t(field.label)), input, hint);
}

function inputOf(field, id) {
  if (field.kind === "choice") {
    const empty = field.default === null ? "" : t("Default ({value})", { value: shown(field, field.default) });
    return h(
      "select",
      { id },
      h("option", { value: "" }, empty),
      field.choices.map((choice) => h("option", { value: String(choice) }, shown(field, choice))),
    );
  }
  if (field.kind === "boolean") return h("input", { id, type: "checkbox", checked: Boolean(field.default) });
  if (field.name === "seed") {
    return h("input", { id, type: "text", inputMode: "numeric", pattern: "[0-9]{1,19}", placeholder: t("Random"), autocomplete: "off" });
  }
  return h("input", {
    id,
    type: field.kind === "text" ? "text" : "number",
    min: field.minimum,
    max: field.maximum,
    step: field.kind === "integer" ? 1 : "any",
    placeholder: field.default === null ? "" : number(field.default),
    autocomplete: "off",
  });
}

function valueOf(field, input) {
  if (field.kind === "boolean") return input.checked === Boolean(field.default) ? undefined : input.checked;
  const text = input.value.trim();
  if (!text) return undefined;
  if (field.kind === "choice") return field.choices.find((choice) => String(choice) === text);
  return field.name === "seed" || field.kind === "text" ? text : Number(text);
}

function put(field, input, value) {
  if (field.kind === "boolean") input.checked = value === undefined ? Boolean(field.default) : value;
  else input.value = value === undefined ? "" : String(value);
}
