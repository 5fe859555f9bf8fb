// openai, @anthropic-ai/sdk and the AI SDK. The report is one JSON line, as that of steps.py.
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import assert from "node:assert";
import OpenAI from "openai";
import { z } from "zod";

const { AIAGENTS_URL: url, AIAGENTS_KEY: apiKey, AIAGENTS_MODELS: models } = process.env;
const openai = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 });
const anthropic = new Anthropic({ apiKey, baseURL: url, maxRetries: 0 });
const sdk = createOpenAI({ apiKey, baseURL: `${url}/v1` });
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const hello = [{ role: "user", content: "Hello" }];
const weather = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const steps = {
  async "openai text"(model) {
    assert((await openai.chat.completions.create({ model, messages: hello })).choices[0].message.content);
    assert((await openai.responses.create({ model, input: "Hello", store: false })).output_text);
  },
  async "openai stream"(model) {
    assert(await openai.chat.completions.stream({ model, messages: hello }).finalContent());
  },
  async "openai tools"(model) {
    const definition = { name: "weather", parameters: weather, parse: JSON.parse, function: ({ city }) => `12 degrees in ${city}` };
    const messages = [{ role: "user", content: "Use the tool: the weather in Oslo" }];
    const runner = openai.chat.completions.runTools({ model, messages, tools: [{ type: "function", function: definition }] });
    assert((await runner.finalContent()).includes("12 degrees"));
  },
  async "anthropic text"(model) {
    assert((await anthropic.messages.create({ model, max_tokens: 500, messages: hello })).content[0].text);
  },
  async "anthropic stream"(model) {
    assert(await anthropic.messages.stream({ model, max_tokens: 500, messages: hello }).finalText());
  },
  async "AI SDK text"(model) {
    for (const one of [sdk(model), sdk.chat(model)]) assert((await generateText({ model: one, prompt: "Hello", maxRetries: 0 })).text);
  },
  async "AI SDK stream"(model) {
    assert(await streamText({ model: sdk(model), prompt: "Hello", maxRetries: 0 }).text);
  },
  async "AI SDK tools"(model) {
    const tools = {
      weather: tool({ description: "The weather", inputSchema: z.object({ city: z.string() }), execute: ({ city }) => `12 degrees in ${city}` }),
    };
    const options = { prompt: "Use the tool: the weather in Oslo", tools, stopWhen: stepCountIs(3), maxRetries: 0 };
    const providerOptions = { openai: { store: false } };
    for (const one of [sdk(model), sdk.chat(model)]) {
      assert((await generateText({ model: one, providerOptions, ...options })).text.includes("12 degrees"));
    }
  },
  async "AI SDK structured"(model) {
    const schema = z.object({ city: z.string(), days: z.number().min(0) });
    assert.equal((await generateObject({ model: sdk.chat(model), schema, prompt: "A trip to Rome for 3 days", maxRetries: 0 })).object.days, 3);
  },
  async "AI SDK image"(model) {
    const content = [{ type: "text", text: "What is in the picture?" }, { type: "image", image: Buffer.from(pixel, "base64") }];
    assert((await generateText({ model: sdk.chat(model), messages: [{ role: "user", content }], maxRetries: 0 })).text.includes("1 image"));
  },
};
const found = {};
for (const [name, step] of Object.entries(steps)) {
  for (const model of models.split(",")) {
    found[`${name} ${model}`] = await step(model).then(() => "", (error) => String(error?.stack ?? error).slice(0, 600));
  }
}
console.log("\n" + JSON.stringify(found));
