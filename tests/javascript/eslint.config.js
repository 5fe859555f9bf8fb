// Rules for static/ and for the tests beside this file. Layout is Prettier's matter.

import js from "@eslint/js";
import globals from "globals";

/** What each folder of static/ may import from, beside itself and the libraries. */
const LAYERS = {
  shared: [],
  chat: ["shared"],
  agents: ["shared"],
  tasks: ["shared"],
  usage: ["shared"],
  account: ["shared"],
  password: ["shared"],
  shell: ["shared", "chat", "agents", "tasks", "usage", "account"],
  "admin-dashboard": [],
};

const layers = Object.entries(LAYERS).map(([folder, below]) => ({
  files: [`static/${folder}/**/*.js`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            regex: `^\\.\\./(?!${[...below, "vendor"].join("/|")}/)`,
            message: `static/${folder}/ imports from ${below.join(", ") || "nothing"} and from vendor/ only.`,
          },
        ],
      },
    ],
  },
}));

export default [
  { ignores: ["**/vendor/**", "**/node_modules/**"] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "no-implicit-coercion": ["error", { boolean: true, number: true, string: true }],
      "no-unused-vars": ["error", { varsIgnorePattern: "^_", caughtErrors: "all" }],
      "no-shadow": "off",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "max-lines": ["error", { max: 300, skipBlankLines: true, skipComments: true }],
    },
  },
  { files: ["static/**/*.js"], languageOptions: { globals: { ...globals.browser, katex: "readonly", Chart: "readonly" } } },
  // A classic script: it runs before the first paint.
  { files: ["static/shared/early_theme.js"], languageOptions: { sourceType: "script" } },
  {
    // The pages never parse a string as HTML, and every request goes through shared/http.js.
    files: ["static/**/*.js"],
    rules: {
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property, message: "Build nodes with shared/dom.js." })),
      ],
      "no-restricted-syntax": [
        "error",
        { selector: "CallExpression[callee.name='fetch']", message: "Requests go through shared/http.js." },
        { selector: "CallExpression[callee.property.name='getReader']", message: "Streams are read by shared/sse.js." },
      ],
    },
  },
  { files: ["static/shared/http.js", "static/shared/sse.js"], rules: { "no-restricted-syntax": "off" } },
  ...layers,
  { files: ["tests/javascript/**/*.js"], languageOptions: { globals: globals.node } },
];
