// @ts-check
// What went wrong, for a person.

/**
 * An answer of the API that is no success, or no answer at all (`type` "network"). It has the fields of the
 * contract's error object, so that `describeError` takes either.
 */
export class Problem extends Error {
  /**
   * @param {Partial<ApiError>} error
   * @param {number} [status] 0 where there was no answer
   * @param {number | null} [retryAfter] seconds
   */
  constructor(error = {}, status = 0, retryAfter = null) {
    super(error.message || "Something went wrong.");
    this.type = error.type ?? "unknown";
    this.code = error.code ?? "";
    this.param = error.param ?? null;
    this.details = error.details ?? {};
    this.request_id = error.request_id ?? "";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const networkProblem = () => new Problem({ type: "network", message: "The server cannot be reached." });

const TITLES = {
  network: "No connection",
  not_authenticated: "Please sign in again",
  permission_denied: "Not allowed",
  budget_exceeded: "The budget is used up",
  rate_limited: "Too many requests",
  payload_too_large: "Too large",
  provider_error: "No model could answer",
  unavailable: "The service is busy",
  not_found: "Not found",
  conflict: "This was changed meanwhile",
  invalid_request: "The request was not accepted",
};

const HINTS = {
  budget_exceeded: "Choose a cheaper model or goal, or ask an administrator to raise your budget.",
  rate_limited: "Wait a moment and try again.",
  provider_error: "Try again, or choose another model.",
  unavailable: "Nothing was charged. Try again in a moment.",
  network: "Your text is kept. The page reconnects by itself.",
};

/**
 * `{title, text, hint, requestId}` of a Problem, or of an error object that a message or run keeps.
 *
 * @param {Partial<ApiError>} error
 */
export function describeError(error) {
  return {
    title: TITLES[error.type] ?? "Something went wrong",
    text: error.message || "The answer could not be finished.",
    hint: HINTS[error.type] ?? "",
    requestId: error.request_id ?? "",
  };
}

/**
 * Field name to its first sentence. Validation errors carry `details` as `{"field": ["sentence", …]}`; of other errors `param`
 * alone names the field.
 *
 * @param {Problem} problem
 * @returns {Record<string, string>}
 */
export function fieldErrors(problem) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const [name, sentences] of Object.entries(problem.details))
    if (Array.isArray(sentences) && typeof sentences[0] === "string") found[name] = sentences[0];
  if (problem.param && !found[problem.param]) found[problem.param] = problem.message;
  return found;
}
