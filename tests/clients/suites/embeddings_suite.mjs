// The Vercel AI SDK embeds one text, and several.
import assert from "node:assert/strict";
import test from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { cosineSimilarity, embed, embedMany } from "ai";

const baseURL = `${process.env.CLIENT_URL}/v1`;
const apiKey = process.env.CLIENT_KEY;
const name = process.env.CLIENT_EMBEDDER;
const models = {
  openai: createOpenAI({ baseURL, apiKey }).textEmbeddingModel(name),
  "openai-compatible": createOpenAICompatible({ name: "mlxk", baseURL, apiKey }).textEmbeddingModel(name),
};

for (const [provider, model] of Object.entries(models)) {
  test(`${provider}: embed and embedMany agree`, async () => {
    const values = ["a b c", "hello", "a b c"];
    const many = await embedMany({ model, values, maxRetries: 0 });
    const one = await embed({ model, value: values[0], maxRetries: 0 });
    assert.equal(many.embeddings.length, values.length);
    assert.ok(cosineSimilarity(one.embedding, many.embeddings[0]) > 0.9999);
    assert.ok(cosineSimilarity(many.embeddings[0], many.embeddings[2]) > 0.9999);
    assert.ok(many.usage.tokens > 0);
  });
}
