// @ts-check
// Pieces that several messages share.

import { h, icon, iconButton } from "../shared/dom.js";
import { branch } from "./branches.js";
import { switchBranch } from "./threads.js";

/** ‹ 2/3 › where a message has siblings. */
export function branchSwitch(message) {
  const ids = branch(message);
  if (ids.length < 2) return null;
  const at = Math.max(0, ids.includes(message.id) ? ids.indexOf(message.id) : ids.length - 1);
  const button = (name, label, step, disabled) => iconButton(name, label, () => switchBranch(message, step), { size: 15, disabled });
  return h(
    "span",
    { class: "branches", role: "group", "aria-label": "Branches" },
    button("left", "Previous branch", -1, at === 0),
    h("span", {}, `${at + 1}/${ids.length}`),
    button("right", "Next branch", 1, at === ids.length - 1),
  );
}

const DATA_IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,/;

/** The pictures of a question; one that would have to be fetched from elsewhere is only named. */
export function imagesOf(parts) {
  const images = parts.filter((part) => part.type === "image" || part.type === "file");
  if (!images.length) return null;
  return h("div", { class: "pictures" }, images.map(pictureOf));
}

/** @param {Exclude<MessagePart, {type: "text"}>} part */
function pictureOf(part) {
  const source = part.type === "image" ? (part.url ?? `data:${part.media_type};base64,${part.data}`) : "";
  if (DATA_IMAGE.test(source)) return h("img", { src: source, alt: "Attached image" });
  return h("span", { class: "picture-name" }, icon("image", 15), part.type === "file" ? (part.name ?? "File") : "Image");
}
