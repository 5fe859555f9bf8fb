// The API's objects as this page holds them: every field present, so that views need not ask twice.

export function normalMessage(raw) {
  const parts = Array.isArray(raw.content) ? raw.content : (raw.parts ?? []);
  const text = Array.isArray(raw.content) ? textOf(raw.content) : (raw.content ?? "");
  const siblings = raw.siblings ?? [];
  return {
    ...raw,
    content: text,
    parts,
    reasoning: raw.reasoning ?? "",
    steps: raw.steps ?? [],
    route: raw.route ?? {},
    usage: raw.usage ?? null,
    error: raw.error ?? null,
    feedback: feedbackOf(raw.feedback),
    fallbacks: raw.fallbacks ?? fallbacksOf(raw.route),
    siblings: siblings.map((one) => one.id ?? one),
    status: raw.status ?? "complete",
  };
}

const textOf = (parts) => parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");

const feedbackOf = (value) => {
  const rating = value && typeof value === "object" ? (value.rating ?? value.value) : value;
  return rating === 1 || rating === "up" ? "up" : rating === -1 || rating === "down" ? "down" : "";
};

/** The failed attempts before the model that answered, as the route's `tried` keeps them. */
function fallbacksOf(route) {
  const tried = route?.tried ?? [];
  return tried.map((one, i) => ({ from: one.model, to: tried[i + 1]?.model ?? route.model ?? "", reason: one.reason ?? one.code ?? one.error ?? "" })).filter((one) => one.from !== one.to);
}

export function localMessage(fields) {
  return normalMessage({ id: `local-${Math.random().toString(36).slice(2)}`, local: true, created_at: new Date().toISOString(), ...fields });
}

/** One entry of the catalogue: prices in USD per million tokens, `state` active, deprecated or retired. */
export function normalModel(raw, simulated = []) {
  return {
    id: raw.id,
    name: raw.display_name || raw.id,
    provider: raw.provider ?? "",
    description: raw.description ?? "",
    capabilities: raw.capabilities ?? [],
    quality: raw.quality ?? 0,
    input: raw.price?.input ?? null,
    output: raw.price?.output ?? null,
    state: raw.lifecycle ?? "active",
    replacedBy: raw.replaced_by ?? "",
    usable: raw.usable ?? true,
    simulated: simulated.includes(raw.provider),
    context: raw.context_window ?? null,
  };
}
