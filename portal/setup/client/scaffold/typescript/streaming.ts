// The answer as it is written: npm run streaming -- "Tell me about the sea"
import { client, MODEL } from "./claudcode.js";

const prompt = process.argv.slice(2).join(" ") || "Explain in five sentences why the sea is salty.";
const stream = client.messages.stream({
  model: MODEL,
  max_tokens: 1024,
  messages: [{ role: "user", content: prompt }],
});
stream.on("text", (text) => process.stdout.write(text));
const { usage } = await stream.finalMessage();
console.log(`\n[${usage.input_tokens} tokens in, ${usage.output_tokens} out]`);
