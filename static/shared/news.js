// @ts-check
// The server's news of what changed: a burst of them becomes one event of the bus for each subject.
// The listeners read the API again. Everything is read again on reconnecting, on focus, and once a minute.

import { emit, on } from "./bus.js";
import { collect, GONE } from "./news_subjects.js";
import { signedIn } from "./session.js";

const BURST = 150;
const EVERY = 60000;
const FOCUS_PAUSE = 15000;

/** Hands on the news of the socket from now on. */
export function watchNews() {
  let waiting = new Map();
  let timer = 0;
  let readAt = Date.now();
  let opened = false;

  function deliver() {
    timer = 0;
    const now = waiting;
    waiting = new Map();
    if (!signedIn()) return;
    const gone = now.get(GONE); // first, so that no listener reads what is deleted
    if (gone?.size) emit(GONE, gone);
    for (const [subject, ids] of now) if (subject !== GONE) emit(subject, ids);
  }

  function receive(frame) {
    if (frame.type !== "news") return;
    collect(waiting, frame);
    timer ||= setTimeout(deliver, BURST);
  }

  function everything() {
    if (!signedIn() || document.visibilityState !== "visible") return;
    readAt = Date.now();
    receive({ type: "news", kind: "news.lost", id: null });
  }

  on("frame", receive);
  on("socket-open", () => {
    if (opened) everything(); // the first time everything was read just now
    opened = true;
  });
  on("signed-out", () => (opened = false));
  window.addEventListener("focus", () => Date.now() - readAt > FOCUS_PAUSE && everything());
  setInterval(everything, EVERY);
}
