// What is left of this key's budget and limits, without using any of them: npm run budget
import { client } from "./claudcode.js";

interface KeyStatus {
  key: string;
  status: string;
  budget: {
    total_tokens: number | null;
    remaining_tokens: number;
    window: string;
    resets_in: string;
  } | null;
  rate_limit: { rpm: number | null; concurrent: number | null };
}

const status = (await client.get("/v1/key-status")) as KeyStatus;
const { budget, rate_limit: limits } = status;
console.log(`${status.key} is ${status.status}.`);
if (budget && budget.total_tokens !== null) {
  const left = budget.remaining_tokens.toLocaleString("en");
  const total = budget.total_tokens.toLocaleString("en");
  console.log(`${left} of ${total} tokens left (${budget.window}); resets in ${budget.resets_in}.`);
} else {
  console.log("No token budget limits this key.");
}
console.log(`Requests a minute: ${limits.rpm ?? "unlimited"}.`);
console.log(`Requests at once: ${limits.concurrent ?? "unlimited"}.`);
