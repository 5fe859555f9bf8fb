// @ts-check
// One place where parts of the page tell each other what changed.

const listeners = new Map();

/** Calls `listener(value)` at each `emit(name, value)`; returns the way to stop. */
export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
  return () => listeners.get(name).delete(listener);
}

export function emit(name, value) {
  for (const listener of [...(listeners.get(name) ?? [])]) listener(value);
}
