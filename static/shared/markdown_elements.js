// @ts-check
// After sanitising: links that say where they lead, images that are not fetched, code with a copy button.

import { copy } from "./clipboard.js";
import { h, icon } from "./dom.js";

export function decorate(fragment) {
  for (const image of fragment.querySelectorAll("img")) tameImage(image);
  for (const link of fragment.querySelectorAll("a")) tameLink(link);
  for (const code of fragment.querySelectorAll("pre > code")) frameCode(code);
  for (const item of fragment.querySelectorAll("li")) tickTask(item);
  for (const table of fragment.querySelectorAll("table")) {
    const box = h("div", { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Table" });
    table.replaceWith(box);
    box.append(table);
  }
}

/** Embedded pictures are shown; all others become a link, so that no answer can make the browser call home. */
function tameImage(image) {
  const source = image.getAttribute("src") ?? "";
  if (source.startsWith("data:")) return;
  const label = image.getAttribute("alt") || "Image";
  const inLink = image.closest("a");
  if (inLink || !/^https?:/i.test(source)) return image.replaceWith(document.createTextNode(label));
  image.replaceWith(h("a", { href: source, class: "image-link" }, icon("image", 15), label));
}

function tameLink(link) {
  const address = absolute(link.getAttribute("href"));
  if (!address) return link.replaceWith(...link.childNodes);
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  link.title = address.href;
  if (address.protocol === "mailto:") return;
  if (!link.textContent.toLowerCase().includes(address.hostname)) link.append(h("span", { class: "link-host" }, address.hostname));
}

function absolute(text) {
  try {
    const address = new URL(text ?? "");
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address : null;
  } catch {
    return null;
  }
}

function frameCode(code) {
  const language = [...code.classList].find((name) => name.startsWith("language-"))?.slice(9) ?? "";
  const pre = code.parentElement;
  const button = h(
    "button",
    { type: "button", class: "code-copy", onclick: () => copy(code.textContent, button) },
    icon("copy", 14),
    h("span", {}, "Copy"),
  );
  const frame = h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", {}, language || "text"), button));
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  frame.append(pre);
}

/** "[ ] " and "[x] " at the start of a list item, as a box that is not a control. */
function tickTask(item) {
  const text = item.firstChild?.nodeType === Node.TEXT_NODE ? item.firstChild : item.querySelector("p")?.firstChild;
  const mark = text?.nodeType === Node.TEXT_NODE && /^\s*\[([ xX])\] /.exec(text.data);
  if (!mark) return;
  text.data = text.data.slice(mark[0].length);
  const ticked = mark[1] !== " ";
  text.before(
    h(
      "span",
      { class: `task ${ticked ? "ticked" : ""}`, role: "img", "aria-label": ticked ? "done" : "to do" },
      ticked && icon("check", 12),
    ),
  );
  item.classList.add("task-item");
}
