// @ts-check
// Which part of the page each kind of news concerns, and how a burst of them is put together.

export const GONE = "news-gone";

/** The event of the bus for each kind of news (docs/streaming.md). `news.lost` is about everything. */
export const SUBJECTS = {
  "alert.changed": "news-alerts",
  "approval.wanted": "news-runs",
  "approval.decided": "news-runs",
  "conversation.changed": "news-conversations",
  "conversation.deleted": GONE,
  "conversation.titled": "news-conversations",
  "credential.ended": "news-credentials",
  "news.lost": null,
  "run.changed": "news-runs",
  "task.changed": "news-tasks",
};

const ALL = [...new Set(Object.values(SUBJECTS).filter(Boolean))];

/** Adds a frame to what waits: subject -> its ids. An empty set of ids stands for everything. Unknown kinds are ignored. */
export function collect(waiting, { kind, id }) {
  if (!Object.hasOwn(SUBJECTS, kind)) return;
  const subject = SUBJECTS[kind];
  if (!subject) for (const one of ALL) waiting.set(one, new Set());
  else if (!waiting.has(subject)) waiting.set(subject, new Set([id]));
  else if (waiting.get(subject).size) waiting.get(subject).add(id);
}

/** Whether news with these ids are about `id`. */
export const concerns = (ids, id) => !ids.size || ids.has(id);
