// @ts-check
// Saving a conversation as a Markdown file.

import { emit } from "../shared/bus.js";
import { saveFile } from "../shared/download.js";

/** @param {Api["Conversation"]} conversation */
export function exportConversation({ id, title }) {
  const name =
    (title || "conversation")
      .replace(/[^\p{L}\p{N} _-]+/gu, " ")
      .trim()
      .slice(0, 80) || "conversation";
  const query = { format: "markdown" };
  saveFile(`chat/conversations/${id}/export`, { query, accept: "text/markdown, */*", name: `${name}.md` }).catch((problem) =>
    emit("problem", problem),
  );
}
