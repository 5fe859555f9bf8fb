// @ts-check
// The signed-in person: name, role, preferences, and this month's budget.

import { get } from "./api.js";
import { emit, on } from "./bus.js";
import { debounce } from "./dom.js";

/** @type {PersonProfile | null} */
export let profile = null;

/** Fetches the profile and announces it as `profile`. */
export async function loadProfile() {
  profile = await get("auth/profile");
  emit("profile", profile);
}

const refresh = debounce(() => loadProfile().catch(() => {}), 600);
on("turn-ended", refresh);
on("signed-out", () => {
  profile = null;
});
