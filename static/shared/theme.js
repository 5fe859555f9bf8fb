// @ts-check
// Dark or light: what the system asks for, unless the person chose. static/chat/early.js applies it before the first paint.

const dark = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

export const THEMES = { system: "As the system", light: "Light", dark: "Dark" };

export const chosenTheme = () => document.documentElement.dataset.theme ?? "system";

/** One of THEMES, kept for this browser. */
export function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("aiagents.theme");
    else localStorage.setItem("aiagents.theme", theme);
  } catch {
    // A browser without storage keeps it until the page is closed.
  }
}

export const toggleTheme = () => setTheme(isDark() ? "light" : "dark");
