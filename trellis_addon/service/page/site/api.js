// The way to the service. The token is in this module's memory and in the header of each request, and nowhere else.

import { said, word } from "./words.js";

const NO_ANSWER = word("The service does not answer; is it running?");

let token = "";
let leave = () => {};

/** What the service refuses, in the page's language; `code` and `parameter` are the protocol's. */
export class Refusal extends Error {
  constructor(error, status) {
    super(said(error));
    this.code = error.code;
    this.parameter = error.parameter ?? "";
    this.status = status;
  }
}

/** Keep the token and find out whether it is the right one. `out` is called when it is not any more. */
export async function enter(given, out) {
  token = given;
  leave = () => {};
  try {
    const state = await get("/page/state");
    leave = out;
    return state;
  } catch (error) {
    token = "";
    throw error;
  }
}

export function forget() {
  token = "";
  leave = () => {};
}

async function send(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ code: "notReached", message: NO_ANSWER }, 0);
  }
  if (answer.status === 401 && token) {
    const error = await refusalOf(answer);
    leave(error.message);
    throw error;
  }
  return answer;
}

async function refusalOf(answer) {
  try {
    const body = await answer.json();
    return new Refusal(body.errors[0], answer.status);
  } catch {
    return new Refusal({ code: "unknown", message: NO_ANSWER }, answer.status);
  }
}

/** What an address of the page answers. */
export async function get(path) {
  const answer = await send(path);
  if (!answer.ok) throw await refusalOf(answer);
  return answer.json();
}

/** Have something done at an address of the service; what it answers. */
export async function post(path) {
  const answer = await send(path, { method: "POST" });
  if (!answer.ok) throw await refusalOf(answer);
  return answer.json();
}

/** Do tasks of the protocol; the items of the answer. The first refusal is thrown. */
export async function tasks(...list) {
  // a seed is a text here, as it goes beyond what JavaScript has for a number
  const body = JSON.stringify(list).replace(/"seed":"(\d+)"/g, '"seed":$1');
  const answer = await send("/v1", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  let reply;
  try {
    reply = await answer.json();
  } catch {
    throw new Refusal({ code: "unknown", message: NO_ANSWER }, answer.status);
  }
  if (reply.errors) throw new Refusal(reply.errors[0], answer.status);
  return reply.data;
}

/** A picture behind the token, as an address of this page's own; to be revoked. Null where there is none. */
export async function picture(path, signal) {
  const answer = await send(path, { signal });
  return answer.ok ? URL.createObjectURL(await answer.blob()) : null;
}

/** The path of a file that the service has named by its whole address, which another name of its may stand in. */
export function pathOf(address) {
  return new URL(address, location.origin).pathname;
}

/** Hear of every change until `signal` says stop: `heard(event, data)`, and `line(isOpen)` when it opens or breaks. */
export async function listen(heard, line, signal) {
  let pause = 1;
  while (!signal.aborted) {
    try {
      const answer = await send("/page/events", { signal });
      if (!answer.ok) throw await refusalOf(answer);
      pause = 1;
      line(true);
      await read(answer.body, heard);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    if (signal.aborted) return;
    line(false);
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    pause = Math.min(pause * 2, 15);
  }
}

async function read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    kept += value;
    const events = kept.split("\n\n");
    kept = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event);
      const data = /^data: (.*)$/m.exec(event);
      if (name && data) heard(name[1], JSON.parse(data[1]));
    }
  }
}

/** A random UUID; `crypto.randomUUID` is not there where the page came over plain HTTP from another machine. */
export function newUuid() {
  const values = crypto.getRandomValues(new Uint8Array(16));
  values[6] = (values[6] & 0x0f) | 0x40;
  values[8] = (values[8] & 0x3f) | 0x80;
  const text = [...values].map((value) => value.toString(16).padStart(2, "0")).join("");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
