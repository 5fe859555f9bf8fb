// Saving a conversation as a file.

import { on, emit } from "./bus.js";
import { h } from "./dom.js";
import { renew, token } from "./session.js";
import { Problem, network } from "./problems.js";

async function save(conversation) {
  const fetchIt = () => fetch(`/api/v1/chat/conversations/${conversation.id}/export?format=markdown`, { headers: { Authorization: `Bearer ${token()}`, Accept: "text/markdown, */*" }, credentials: "omit" });
  let response = await fetchIt().catch(() => Promise.reject(network()));
  if (response.status === 401 && (await renew(token()))) response = await fetchIt();
  if (!response.ok) throw new Problem((await response.json().catch(() => ({}))).error, response.status);
  const url = URL.createObjectURL(await response.blob());
  const name = (conversation.title || "conversation").replace(/[^\p{L}\p{N} _-]+/gu, " ").trim().slice(0, 80) || "conversation";
  h("a", { href: url, download: `${name}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

on("export", (conversation) => save(conversation).catch((problem) => emit("problem", problem)));
