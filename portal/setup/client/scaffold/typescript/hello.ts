// One question, one answer: npm run hello -- "Write a haiku about coding"
import { client, MODEL, textOf } from "./claudcode.js";

const prompt = process.argv.slice(2).join(" ") || "Write a haiku about coding.";
const message = await client.messages.create({
  model: MODEL,
  max_tokens: 1024,
  messages: [{ role: "user", content: prompt }],
});
console.log(textOf(message));
