// @ts-check
// The models that may be asked for, with what they cost and can do.

import { get, getAll } from "./api.js";
import { emit } from "./bus.js";

export const GOALS = {
  balanced: ["Balanced", "Good answers at a fair price and speed"],
  cheapest: ["Cheapest", "The least money that does the job"],
  fastest: ["Fastest", "First words and whole answer soonest"],
  best: ["Best", "The strongest model that fits the budget"],
};
export const PROVIDERS = { openai: "OpenAI", anthropic: "Anthropic", google: "Google", openai_compatible: "Other" };

/** @typedef {Api["Model"] & {name: string, simulated: boolean}} Model */

/** @type {Model[]} */
let models = [];
/** @type {Map<string, Model>} */
const bySlug = new Map();

export const allModels = () => models;
export const modelById = (id) => bySlug.get(id);
export const modelName = (id) => (id ? (bySlug.get(id)?.name ?? id) : "");
export const providerName = (provider) => PROVIDERS[provider] ?? provider;

/** Fetches the catalogue and announces it as `models`. */
export async function loadModels() {
  /** @type {[Api["Model"][], {simulated_vendors: string[]}]} */
  const [found, info] = await Promise.all([getAll("billing/models"), get("system/info").catch(() => ({ simulated_vendors: [] }))]);
  const known = found.map((one) => ({
    ...one,
    name: one.display_name || one.id,
    simulated: info.simulated_vendors.includes(one.provider),
  }));
  models = known.filter((one) => one.usable && !one.capabilities.includes("embeddings"));
  bySlug.clear();
  // Retired models keep their names: old answers were written by them.
  for (const one of known) bySlug.set(one.id, one);
  emit("models");
}

/** Models by vendor, the well-known vendors first; deprecated ones last in their group. */
export function modelsByVendor(search = "") {
  const wanted = search.trim().toLowerCase();
  const groups = new Map(Object.keys(PROVIDERS).map((name) => [name, []]));
  for (const one of models) {
    if (wanted && !`${one.name} ${one.id} ${providerName(one.provider)}`.toLowerCase().includes(wanted)) continue;
    if (!groups.has(one.provider)) groups.set(one.provider, []);
    groups.get(one.provider).push(one);
  }
  for (const group of groups.values())
    group.sort((a, b) => Number(a.lifecycle !== "active") - Number(b.lifecycle !== "active") || b.quality - a.quality);
  return [...groups].filter(([, group]) => group.length);
}
