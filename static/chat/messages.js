// @ts-check
// Messages as this page holds them: what the API sends, and every field present.

/**
 * @typedef {Partial<Omit<Api["Message"], "parts" | "steps" | "route" | "error" | "agent">> & {
 *   id: string, content: string, status: Api["Message"]["status"], parts: MessagePart[], reasoning: string, steps: TurnStep[], route: Route | {},
 *   error: ApiError | null, agent?: {name: string} | null, fallbacks: Fallback[], siblings: string[], local?: boolean, seq?: number, replay?: boolean,
 * }} ChatMessage
 * `local`: not stored yet. `seq`: the last event that the page has seen. `replay`: the next event begins the text anew.
 */

/** @type {Pick<ChatMessage, "parts" | "reasoning" | "steps" | "route" | "error" | "siblings">} */
const EMPTY = { parts: [], reasoning: "", steps: [], route: {}, error: null, siblings: [] };

/**
 * @param {Partial<Api["Message"]>} stored a question has no fields of an answer, and an event's message has no siblings
 * @returns {ChatMessage}
 */
export function messageOf(stored) {
  const message = /** @type {ChatMessage} */ ({ ...structuredClone(EMPTY), ...stored });
  return { ...message, fallbacks: fallbacksOf(message.route) };
}

/**
 * A question or answer that the server does not have yet.
 *
 * @param {Partial<ChatMessage>} fields
 */
export const localMessage = (fields) =>
  messageOf(
    /** @type {any} */ ({
      id: `local-${Math.random().toString(36).slice(2)}`,
      local: true,
      status: "complete",
      content: "",
      created_at: new Date().toISOString(),
      ...fields,
    }),
  );

/** The text and the parts of a request's `content`. */
export const contentOf = (content) => (typeof content === "string" ? { content, parts: [] } : { content: textOf(content), parts: content });

/** @param {MessagePart[]} parts */
const textOf = (parts) =>
  parts
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n");

/** The failed attempts before the model that answered, as the route's `tried` keeps them. */
function fallbacksOf(route) {
  const tried = route.tried ?? [];
  return tried
    .map((one, i) => ({ from: one.model, to: tried[i + 1]?.model ?? route.model ?? "", reason: one.reason }))
    .filter((one) => one.from !== one.to);
}
