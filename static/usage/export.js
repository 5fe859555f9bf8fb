// @ts-check
// The person's calls as a CSV file.

import { saveFile } from "../shared/download.js";

/** Saves the calls that the filters leave as `name`.csv. */
export const saveUsage = (filters, name) =>
  saveFile("billing/usage/export", { query: { format: "csv", ...filters }, accept: "text/csv", name: `${name}.csv` });
