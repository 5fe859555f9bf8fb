// @ts-check
// What may be done with a conversation: pin, rename, archive, export, delete.

import { emit } from "../shared/bus.js";
import { askText, confirm, menu } from "../shared/overlay.js";
import { change, erase } from "./conversations.js";
import { exportConversation } from "./export.js";

const reported = (work) => work.catch((problem) => emit("problem", problem));

/** Opens the menu at `anchor`. */
export function conversationMenu(one, anchor) {
  menu(anchor, [
    { label: one.pinned ? "Unpin" : "Pin", icon: "pin", run: () => reported(change(one.id, { pinned: !one.pinned })) },
    { label: "Rename", icon: "pencil", run: () => rename(one) },
    {
      label: one.archived ? "Take out of the archive" : "Archive",
      icon: "archive",
      run: () => reported(change(one.id, { archived: !one.archived })),
    },
    { label: "Export", icon: "download", run: () => exportConversation(one) },
    { label: "Delete", icon: "trash", danger: true, run: () => removeOne(one) },
  ]);
}

async function rename(one) {
  const title = await askText("Rename conversation", "Title", one.title);
  if (title && title !== one.title) await reported(change(one.id, { title }));
}

async function removeOne(one) {
  const sure = await confirm(
    "Delete conversation",
    `“${one.title || "New conversation"}” disappears at once, answers that are being written in it stop, and after some days it is erased with its messages and files. What it cost stays in your usage, without the text.`,
    "Delete",
  );
  if (sure) await reported(erase(one.id));
}
