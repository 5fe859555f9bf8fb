// @ts-check
// The one WebSocket of this page: opened with a one-time ticket, reopened with jittered back-off.

import { post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { Problem } from "../shared/problems.js";
import { signedIn } from "../shared/session.js";

const PING_EVERY = 25000;
const SILENCE = 10000;
const waitingFor = new Map(); // ref -> {resolve, reject} of a frame not acknowledged yet

let socket = null;
let state = "off"; // off, connecting, open, waiting
let failures = 0;
let retryTimer = 0;
let pingTimer = 0;
let silenceTimer = 0;
let opened = Promise.resolve();
let announce = () => {};

/** Opens the socket unless it is open or being opened. Safe to call at any time. */
export function connect() {
  if (!signedIn() || state === "open" || state === "connecting") return opened;
  clearTimeout(retryTimer);
  become("connecting");
  opened = new Promise((resolve) => {
    announce = resolve;
  });
  open();
  return opened;
}

async function open() {
  let ticket;
  try {
    ({ ticket } = await post("auth/ws-ticket"));
  } catch {
    return again();
  }
  if (state !== "connecting") return;
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/chat/ws`;
  const mine = new WebSocket(address, ["aiagents.v1", "aiagents-news", `ticket.${ticket}`]);
  socket = mine;
  mine.onopen = () => {
    if (mine !== socket) return mine.close();
    failures = 0;
    become("open");
    announce();
    pingTimer = setInterval(ping, PING_EVERY);
    emit("socket-open");
  };
  mine.onmessage = ({ data }) => mine === socket && receive(data);
  mine.onclose = ({ code }) => mine === socket && lost(code);
}

function receive(data) {
  clearTimeout(silenceTimer);
  const frame = JSON.parse(data);
  const pending = frame.ref && waitingFor.get(frame.ref);
  if (pending && (frame.type === "ack" || frame.type === "error")) {
    waitingFor.delete(frame.ref);
    return frame.type === "ack" ? pending.resolve(frame) : pending.reject(new Problem(frame.error));
  }
  if (frame.type !== "pong" && frame.type !== "ack") emit("frame", frame);
}

function ping() {
  transmit({ type: "ping" });
  clearTimeout(silenceTimer);
  // A half-open connection reports nothing by itself.
  silenceTimer = setTimeout(() => socket && lost(0), SILENCE);
}

/** Sends a frame; false when there is no connection now. */
export function transmit(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

/** Sends a frame and returns its `ack`; rejects with a `Problem`. */
export async function request(frame) {
  await connect();
  return new Promise((resolve, reject) => {
    waitingFor.set(frame.ref, { resolve, reject });
    if (!transmit(frame)) {
      waitingFor.delete(frame.ref);
      reject(new Problem({ type: "network", message: "There is no connection to the server." }));
    }
  });
}

function lost(code) {
  const old = socket;
  socket = null;
  if (old) {
    old.onclose = null;
    old.close();
  }
  clearInterval(pingTimer);
  clearTimeout(silenceTimer);
  for (const { reject } of waitingFor.values())
    reject(new Problem({ type: "network", message: "The connection was lost before the message was accepted." }));
  waitingFor.clear();
  if (code === 4429) failures = Math.max(failures, 4);
  again(code === 4401 || code === 4503 ? 0.2 : 1);
}

function again(factor = 1) {
  if (!signedIn()) return become("off");
  become("waiting");
  const delay = Math.min(20000, 500 * 2 ** failures) * (0.5 + Math.random() / 2) * factor;
  failures += 1;
  retryTimer = setTimeout(connect, delay);
}

function become(next) {
  state = next;
  emit("connection", { state, failures });
}

/** Closes for good, at sign-out. */
export function disconnect() {
  clearTimeout(retryTimer);
  clearInterval(pingTimer);
  clearTimeout(silenceTimer);
  if (socket) {
    socket.onclose = null;
    socket.close(1000);
  }
  socket = null;
  failures = 0;
  become("off");
}

window.addEventListener("online", () => state === "waiting" && connect());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && state === "waiting" && connect());
on("signed-out", disconnect);
// The open socket speaks with rights that ended.
on("access-replaced", () => {
  failures = 0;
  if (socket) lost(4401);
});
