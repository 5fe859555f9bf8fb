// @ts-check
// All that is known of one call.

import { modelName, providerName } from "../shared/catalogue.js";
import { h } from "../shared/dom.js";
import { duration, moment, usd } from "../shared/format.js";
import { dialog } from "../shared/overlay.js";

const LEVELS = { ok: "good", failed: "bad", cancelled: "warn", interrupted: "warn" };

export const statusBadge = ({ status, error_code: code }) =>
  h("span", { class: `badge ${LEVELS[status] ?? ""}`, title: code || null }, status);

export function showCall(call) {
  const whole = (value) => value.toLocaleString("en");
  const asked =
    call.requested_model === call.model ? "by name" : `chosen for “${call.requested_model}”${call.goal ? `, ${call.goal}` : ""}`;
  const rates = call.price ?? {};
  const facts = [
    ["Time", moment(call.created_at)],
    ["Model", `${modelName(call.model)}, ${asked}`],
    ["Vendor", `${providerName(call.provider)}${call.simulated ? " (simulated)" : ""}`],
    [
      "Status",
      [
        statusBadge(call),
        call.error_code && ` ${call.error_code}`,
        call.finish_reason && ` ended by ${call.finish_reason}`,
        call.attempt > 1 && `, attempt ${call.attempt}`,
      ],
    ],
    ["Cost", `$${call.cost_usd}${call.estimated ? ", estimated: the vendor reported no use" : ""}`],
    call.vendor_asked === false && ["Request", "never sent to the vendor, so it cost nothing"],
    call.baseline_cost_usd !== null && ["Baseline", `$${call.baseline_cost_usd}`],
    rates.input && ["Rates", `${usd(rates.input)} in, ${usd(rates.output)} out, per million tokens`],
    [
      "Tokens in",
      `${whole(call.input_tokens)}${call.cached_input_tokens ? `, ${whole(call.cached_input_tokens)} of them from the cache` : ""}`,
    ],
    ["Tokens out", `${whole(call.output_tokens)}${call.reasoning_tokens ? `, ${whole(call.reasoning_tokens)} of them thinking` : ""}`],
    ["Latency", `${duration(call.latency_ms)}${call.ttft_ms === null ? "" : `, first words after ${duration(call.ttft_ms)}`}`],
    ["Came by", call.surface],
    call.flagged && ["Remark", call.flagged],
    ["Call", h("code", {}, call.call_id)],
    call.request_id && ["Request", h("code", {}, call.request_id)],
  ];
  dialog(
    "One call",
    h(
      "dl",
      { class: "call-facts" },
      facts.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  );
}
