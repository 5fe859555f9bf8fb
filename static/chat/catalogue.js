// The models that may be asked for, with what they cost and can do.

import { get } from "./api.js";
import { emit } from "./bus.js";
import { normalModel } from "./records.js";

export const GOALS = {
  balanced: ["Balanced", "Good answers at a fair price and speed"],
  cheapest: ["Cheapest", "The least money that does the job"],
  fastest: ["Fastest", "First words and whole answer soonest"],
  best: ["Best", "The strongest model that fits the budget"],
};
export const PROVIDERS = { openai: "OpenAI", anthropic: "Anthropic", google: "Google", openai_compatible: "Other" };

let models = [];
const bySlug = new Map();

export const all = () => models;
export const model = (id) => bySlug.get(id);
export const modelName = (id) => (id ? (bySlug.get(id)?.name ?? id) : "");
export const providerName = (provider) => PROVIDERS[provider] ?? provider;

export async function load() {
  const found = [];
  let page = await get("billing/models", { page_size: 100 });
  found.push(...page.results);
  while (page.next) {
    page = await get(page.next);
    found.push(...page.results);
  }
  const info = await get("system/info").catch(() => ({}));
  const all = found.map((one) => normalModel(one, info.simulated_vendors));
  models = all.filter((one) => one.usable && !one.capabilities.includes("embeddings"));
  bySlug.clear();
  // Retired models keep their names: old answers were written by them.
  for (const one of all) bySlug.set(one.id, one);
  emit("models");
}

/** Models by vendor, the well-known vendors first; deprecated ones last in their group. */
export function grouped(search = "") {
  const wanted = search.trim().toLowerCase();
  const groups = new Map(Object.keys(PROVIDERS).map((name) => [name, []]));
  for (const one of models) {
    if (wanted && !`${one.name} ${one.id} ${providerName(one.provider)}`.toLowerCase().includes(wanted)) continue;
    if (!groups.has(one.provider)) groups.set(one.provider, []);
    groups.get(one.provider).push(one);
  }
  for (const group of groups.values()) group.sort((a, b) => Number(a.state !== "active") - Number(b.state !== "active") || b.quality - a.quality);
  return [...groups].filter(([, group]) => group.length);
}
