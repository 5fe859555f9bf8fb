// Server-Sent Events, one by one.

import { Problem, network } from "./problems.js";
import { renew, token } from "./session.js";

/** Yields `{type, id, data}` of a POST, or of a GET where there is no body, until the stream ends; a refusal is a `Problem`. A 401 is tried once more after one renewal. */
export async function* events(path, body, { headers = {}, signal } = {}) {
  let used = token();
  const ask = () => send(path, body, { ...headers, Authorization: `Bearer ${used}` }, signal);
  let response = await ask();
  if (response.status === 401 && (await renew(used))) {
    used = token();
    response = await ask();
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Problem(answer.error, response.status, Number(response.headers.get("Retry-After")) || null);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const event = read(block);
      if (event) yield event;
    }
  }
}

async function send(path, body, headers, signal) {
  try {
    return await fetch(`/api/v1/${path}`, { method: body ? "POST" : "GET", headers: { ...(body && { "Content-Type": "application/json" }), Accept: "text/event-stream", ...headers }, body: body && JSON.stringify(body), credentials: "omit", signal });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw network();
  }
}

function read(block) {
  const lines = block.split(/\r?\n/);
  const value = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, "")).join("\n");
  const data = value("data");
  return data ? { type: value("event"), id: value("id"), data: JSON.parse(data) } : null;
}
