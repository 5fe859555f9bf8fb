// Dark or light: what the system asks for, unless the person chose. static/chat/early.js applies it before the first paint.

const dark = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

export function toggle() {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("aiagents.theme", next);
  } catch {
    // A browser without storage keeps it until the page is closed.
  }
}
