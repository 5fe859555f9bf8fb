// @ts-check
// Pictures that go with a question: by button, paste or drop; checked before they are sent.

import { fill, h, iconButton } from "../shared/dom.js";
import { bytes } from "../shared/format.js";
import { notify } from "../shared/notices.js";

const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const LARGEST = 8 * 1024 * 1024;
const LARGEST_TOGETHER = 8.5 * 1024 * 1024; // base64 makes it a third more, and a request holds 12 MB
const MOST = 8;

export function attachments(changed) {
  const el = h("div", { class: "attachments", hidden: true });
  const picker = h("input", {
    type: "file",
    accept: TYPES.join(","),
    multiple: true,
    hidden: true,
    "aria-label": "Choose pictures",
    tabIndex: -1,
  });
  const button = iconButton("image", "Attach pictures", () => picker.click());
  let items = [];

  picker.addEventListener("change", () => {
    take(picker.files);
    picker.value = "";
  });

  async function take(files) {
    for (const file of files) {
      const name = file.name || "picture";
      if (!TYPES.includes(file.type)) notify(`${name}: only PNG, JPEG, GIF and WebP pictures.`, "warn");
      else if (file.size > LARGEST) notify(`${name} has ${bytes(file.size)}; at most ${bytes(LARGEST)} are possible.`, "warn");
      else if (items.length >= MOST) notify(`At most ${MOST} pictures.`, "warn");
      else if (items.reduce((sum, one) => sum + one.size, file.size) > LARGEST_TOGETHER)
        notify(`${name} would make the question larger than ${bytes(LARGEST_TOGETHER)}.`, "warn");
      else items.push({ name, size: file.size, media_type: file.type, data: await base64(file) });
    }
    draw();
  }

  function draw() {
    el.hidden = !items.length;
    fill(
      el,
      items.map((item) =>
        h(
          "figure",
          {},
          h("img", { src: `data:${item.media_type};base64,${item.data}`, alt: item.name }),
          h("figcaption", {}, bytes(item.size)),
          iconButton("close", `Remove ${item.name}`, () => ((items = items.filter((one) => one !== item)), draw()), { size: 13 }),
        ),
      ),
    );
    changed();
  }

  return {
    el,
    picker,
    button,
    take,
    count: () => items.length,
    parts: () => items.map(({ media_type, data }) => ({ type: "image", media_type, data })),
    set(next) {
      items = next;
      draw();
    },
    items: () => items,
  };
}

const base64 = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).slice(String(reader.result).indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
