// The page's language: English words are the names, and a dictionary has the others.

let words = {};
let language = "en";
const TIMES = { dateStyle: "medium", timeStyle: "short" };
let times = new Intl.DateTimeFormat("en", TIMES);
let numbers = new Intl.NumberFormat("en", { useGrouping: "min2" });

/** Fetch the words in the browser's language, and put them wherever the page's markup names some. */
export async function readWords() {
  try {
    const wanted = (navigator.languages || []).join(",");
    const answer = await fetch(`/page/words?language=${encodeURIComponent(wanted)}`);
    const found = await answer.json();
    ({ language, words } = found);
  } catch {
    // without a dictionary the page is English
  }
  numbers = new Intl.NumberFormat(language, { useGrouping: "min2" });
  times = new Intl.DateTimeFormat(language, TIMES);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
}

/** A sentence in the page's language; {names} in it are filled with the values. */
export function t(sentence, values = {}) {
  return filled(words[sentence] ?? sentence, values);
}

/** A sentence that is said later, so that the dictionary has it. */
export const word = (sentence) => sentence;

/** What the service says: an object with `message`, and with `template` and `values` where there are some. */
export function said(message) {
  if (typeof message !== "object" || message === null) return t(String(message));
  if (!message.template) return words[message.message] ?? message.message;
  const values = {};
  for (const [name, value] of Object.entries(message.values ?? {})) values[name] = inner(value);
  return t(message.template, values);
}

function inner(value) {
  if (Array.isArray(value)) return value.map(inner).join(words[", "] ?? ", ");
  if (typeof value === "object" && value !== null) return said(value);
  return value;
}

function filled(text, values) {
  return text.replace(/\{(\w+)(?::([^{}]*))?\}/g, (whole, name, format) => {
    if (!(name in values)) return whole;
    const value = values[name];
    if (!format || typeof value !== "number") return String(value);
    const digits = /\.(\d)/.exec(format);
    const places = digits ? Number(digits[1]) : 0;
    const shown = { minimumFractionDigits: places, maximumFractionDigits: places, useGrouping: format.includes(",") };
    if (format.endsWith("%")) shown.style = "percent";
    return new Intl.NumberFormat(language, shown).format(value);
  });
}

/** A number as the language writes it; of four digits, as in a resolution, without a separator. */
export const number = (value) => numbers.format(value);

export function bytes(count) {
  const gigabytes = count / 2 ** 30;
  const large = gigabytes >= 1;
  const amount = new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(large ? gigabytes : count / 2 ** 20);
  return large ? t("{size} GB", { size: amount }) : t("{size} MB", { size: amount });
}

export function seconds(count) {
  if (count < 90) return t("{seconds} s", { seconds: number(Math.round(count * 10) / 10) });
  return t("{minutes} min", { minutes: number(Math.round(count / 6) / 10) });
}

export const when = (time) => times.format(time * 1000);
