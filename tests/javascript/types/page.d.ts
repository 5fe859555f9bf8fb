// Types that the pages' JSDoc names without an import: an import inside a comment would be rewritten by `collectstatic`.

import type { components } from "./api";

declare global {
  /** The OpenAPI document's schemas; .ci/lint writes them from it. */
  type Api = components["schemas"];
  type ApiError = Api["Error"]["error"];

  type PersonProfile = Api["Profile"] & {
    budget: { spent_usd: string; held_usd: string; limit_usd: string | null; left_usd: string | null };
  };

  /** One event of a stream: its `event:`, `id:` and parsed `data:`. */
  type SentEvent = { type: string; id: string; data: any };

  /** A part of a question. */
  type MessagePart =
    | { type: "text"; text: string }
    | { type: "image"; media_type?: string; data?: string; url?: string }
    | { type: "file"; media_type: string; data: string; name?: string };

  /** What `tool.call` and `tool.result` say (docs/streaming.md). */
  type TurnStep =
    | { type: "tool.call"; call_id: string; name: string; arguments: string; needs_approval?: boolean; run_id?: string }
    | { type: "tool.result"; call_id: string; name?: string; status: string; output: string; latency_ms: number };

  type Fallback = { from: string; to: string; reason: string };

  /** Why a model was chosen: what `POST /api/v1/chat/route` answers and messages keep; `tried` and `model` once one answered. */
  interface Route {
    requested: string;
    goal: string;
    chosen: string;
    reason: string;
    difficulty?: number | null;
    candidates: {
      model: string;
      provider: string;
      estimated_cost_usd: string | null;
      removed: string | null;
      probability?: number;
      value_usd?: string | null;
      price_known?: boolean;
      expected_seconds?: number;
    }[];
    baseline: { model: string; estimated_cost_usd: string; saving_usd: string } | null;
    tried?: { model: string; code: string; reason: string }[];
    model?: string;
  }

  var katex: { renderToString(text: string, options: object): string };
  var Chart: any;
}
