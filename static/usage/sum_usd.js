// @ts-check
// Sums of money for the last line of a table.

const PLACES = 12;

/** The exact sum of the contract's decimal strings, as one. */
export function sumUsd(texts) {
  const sum = texts.reduce((all, text) => all + scaled(text), 0n);
  const digits = String(sum < 0n ? -sum : sum).padStart(PLACES + 1, "0");
  return `${sum < 0n ? "-" : ""}${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`;
}

function scaled(text) {
  const [whole, places = ""] = text.split(".");
  return BigInt(whole + places.slice(0, PLACES).padEnd(PLACES, "0"));
}
