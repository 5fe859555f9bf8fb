// @ts-check
// `message.rewind`: what is kept of an answer is shorter than what this page has seen.

/** The first `length` characters of a text, counted as the API counts them: Unicode code points, not UTF-16 units. */
export function cut(text, length) {
  let at = 0;
  for (const character of text) {
    if (length <= 0) break;
    at += character.length;
    length -= 1;
  }
  return text.slice(0, at);
}

/** The text, reasoning and steps of a record that are kept. */
export const keptParts = ({ text, reasoning, steps }, data) => ({
  text: cut(text, data.length),
  reasoning: cut(reasoning, data.reasoning_length),
  steps: steps.slice(0, data.steps),
});
