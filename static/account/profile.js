// @ts-check
// Profile, preferences, password, sessions.

import { patch, post } from "../shared/api.js";
import { emit, on } from "../shared/bus.js";
import { allModels, GOALS } from "../shared/catalogue.js";
import { fill, h } from "../shared/dom.js";
import { fieldSet } from "../shared/fields.js";
import { moment, usd } from "../shared/format.js";
import { notify } from "../shared/notices.js";
import { confirm } from "../shared/overlay.js";
import { loadProfile, profile } from "../shared/profile.js";
import { logOut, takeAccess } from "../shared/session.js";
import { chosenTheme, setTheme, THEMES } from "../shared/theme.js";

export function meView() {
  const el = h("div", { class: "stack" });
  const show = () => fill(el, month(), preferences(), password(), sessions());
  // The models come after the profile when the page opens here.
  on("models", () => el.isConnected && !el.contains(document.activeElement) && show());
  return { el, show };
}

const panel = (title, ...children) =>
  h("section", { class: "panel", "aria-label": title }, h("div", { class: "panel-head" }, h("h2", {}, title)), children);

function month() {
  const { email, role, created_at: since, budget } = profile;
  const share = budget.limit_usd ? Number(budget.spent_usd) / Math.max(Number(budget.limit_usd), 1e-9) : null;
  const bar =
    share === null
      ? null
      : h("progress", { max: "1", class: share >= 1 ? "over" : share >= 0.8 ? "near" : "", "aria-label": "Share of this month's budget" });
  if (bar) bar.value = Math.min(1, share);
  return h(
    "div",
    { class: "cards" },
    h(
      "div",
      { class: "card" },
      h("h3", {}, "Signed in as"),
      h("p", { class: "big name" }, email),
      h("small", {}, `${role === "admin" ? "administrator" : role}, since ${moment(since)}`),
    ),
    h(
      "div",
      { class: "card" },
      h("h3", {}, "Spent this month"),
      h("p", { class: "big" }, usd(budget.spent_usd)),
      h("small", {}, budget.limit_usd ? `of ${usd(budget.limit_usd)}` : "no limit", " · ", h("a", { href: "/usage" }, "Usage")),
      bar,
    ),
  );
}

/** A form whose button waits for the answer; `work()` returns what is said when it went well. */
function form(fields, children, label, work) {
  const save = h("button", { class: "button primary" }, label);
  async function submit(event) {
    event.preventDefault();
    fields.clear();
    save.disabled = true;
    try {
      notify(await work());
    } catch (problem) {
      fields.complain(problem);
    } finally {
      save.disabled = false;
    }
  }
  return h("form", { class: "form", onsubmit: submit }, children, fields.general, h("footer", {}, save));
}

const options = (entries, value) => entries.map(([name, text]) => h("option", { value: name, selected: name === value }, text));

function preferences() {
  const fields = fieldSet();
  const now = profile.preferences;
  const name = h("input", { class: "field", maxlength: "150", autocomplete: "name" });
  name.value = profile.name;
  // A preference may name a model that is gone: it stays chosen until the person chooses another.
  const models = allModels().map((one) => [one.id, one.name]);
  const kept =
    now.default_model.split(":")[0] === "auto" || models.some(([id]) => id === now.default_model)
      ? []
      : [[now.default_model, `${now.default_model} (not offered any more)`]];
  const model = h(
    "select",
    { class: "field" },
    options(
      [["auto", "Automatic: a model for each question"], ...kept, ...models],
      now.default_model.startsWith("auto") ? "auto" : now.default_model,
    ),
  );
  const goal = h(
    "select",
    { class: "field" },
    options(
      Object.entries(GOALS).map(([id, [title, text]]) => [id, `${title}: ${text}`]),
      now.goal,
    ),
  );
  const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
  const zone = h("input", { class: "field", list: "time-zones", autocomplete: "off", spellcheck: "false" });
  zone.value = now.time_zone;
  const theme = h("select", { class: "field", onchange: () => setTheme(theme.value) }, options(Object.entries(THEMES), chosenTheme()));

  async function work() {
    await patch("auth/profile", {
      name: name.value.trim(),
      preferences: { default_model: model.value, goal: goal.value, time_zone: zone.value.trim() },
    });
    await loadProfile();
    emit("preferences");
    return "Saved";
  }
  const children = [
    h(
      "div",
      { class: "two" },
      fields.add("name", "Name", name),
      fields.add("time_zone", "Time zone", zone, "For dates in reports and mails"),
    ),
    h(
      "div",
      { class: "two" },
      fields.add("default_model", "Model of new conversations", model),
      fields.add("goal", "What automatic choice looks for", goal),
    ),
    h(
      "datalist",
      { id: "time-zones" },
      zones.map((one) => h("option", { value: one })),
    ),
    h("div", { class: "two" }, fields.add("theme", "Colours", theme, "In this browser; holds at once")),
  ];
  return panel("Profile and preferences", form(fields, children, "Save", work));
}

function password() {
  const fields = fieldSet();
  const secret = (autocomplete) => h("input", { class: "field", type: "password", required: true, autocomplete });
  const [old, fresh, again] = [secret("current-password"), secret("new-password"), secret("new-password")];
  const keys = h("input", { type: "checkbox" });

  async function work() {
    if (fresh.value !== again.value) return (fields.mark({ again: "The two are not the same." }), "Not changed yet");
    const answer = await post("auth/password", { current_password: old.value, new_password: fresh.value, revoke_api_keys: keys.checked });
    takeAccess(answer.access);
    for (const field of [old, fresh, again]) field.value = "";
    keys.checked = false;
    return "The password is changed; your other sessions are signed out";
  }
  const children = [
    // Password managers want to know whose it is.
    h("input", {
      type: "email",
      class: "off-screen",
      autocomplete: "username",
      value: profile.email,
      readOnly: true,
      tabIndex: -1,
      "aria-hidden": "true",
    }),
    fields.add("current_password", "Present password", old),
    h("div", { class: "two" }, fields.add("new_password", "New password", fresh), fields.add("again", "New password again", again)),
    h("label", { class: "check" }, keys, h("span", {}, "Revoke my API keys, too")),
    h("p", { class: "hint" }, "All your other sessions are signed out."),
  ];
  return panel("Password", form(fields, children, "Change password", work));
}

function sessions() {
  const leave = async () => {
    if (
      await confirm(
        "Sign out everywhere",
        "Every browser and program that is signed in as you ends, this one too. API keys go on.",
        "Sign out everywhere",
      )
    )
      await logOut(true);
  };
  return panel(
    "Sessions",
    h("p", { class: "hint" }, "Lost a device, or signed in somewhere you do not trust?"),
    h("button", { type: "button", class: "button danger", onclick: leave }, "Sign out everywhere"),
  );
}
