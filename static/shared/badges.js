// @ts-check
// Small labels that several views show.

import { h } from "./dom.js";

export const simulatedBadge = () =>
  h("span", { class: "badge simulated", title: "No key for this vendor is configured, so a local simulator answers." }, "simulated");
