// What went wrong, in words for a person.

/** An answer of the API that is not a success, or no answer at all (`type` "network"). */
export class Problem extends Error {
  constructor(error = {}, status = 0, retryAfter = null) {
    super(error.message || "Something went wrong.");
    Object.assign(this, { type: error.type ?? "unknown", code: error.code ?? "", param: error.param ?? null });
    Object.assign(this, { details: error.details ?? {}, requestId: error.request_id ?? "", status, retryAfter });
  }
}

export const network = () => new Problem({ type: "network", message: "The server cannot be reached." });

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

/** {title, text, hint, requestId} of a Problem or of the contract's inner error object. */
export function words(error) {
  const type = error?.type ?? "unknown";
  return {
    title: TITLES[type] ?? "Something went wrong",
    text: error?.message || "The answer could not be finished.",
    hint: HINTS[type] ?? "",
    requestId: error?.requestId || error?.request_id || "",
  };
}

/** Field name -> sentence, of a 400's `details`. */
export function fieldErrors(problem) {
  const found = {};
  const fields = problem.details?.fields ?? problem.details ?? {};
  if (typeof fields === "object")
    for (const [name, value] of Object.entries(fields)) {
      const first = Array.isArray(value) ? value[0] : value;
      if (typeof first === "string") found[name] = first;
      else if (first && typeof first.message === "string") found[name] = first.message;
    }
  if (problem.param && !found[problem.param]) found[problem.param] = problem.message;
  return found;
}
