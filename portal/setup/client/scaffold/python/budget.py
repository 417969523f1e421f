"""What is left of this key's budget and limits, without using any of them: python budget.py"""

from claudcode import client

status = client.get("/v1/key-status", cast_to=object)
budget, limits = status["budget"], status["rate_limit"]
print(f"{status['key']} is {status['status']}.")
if budget and budget["total_tokens"] is not None:
    print(
        f"{budget['remaining_tokens']:,} of {budget['total_tokens']:,} tokens left"
        f" ({budget['window']}); resets in {budget['resets_in']}."
    )
else:
    print("No token budget limits this key.")
rpm, concurrent = limits["rpm"], limits["concurrent"]
print(f"Requests a minute: {'unlimited' if rpm is None else rpm}.")
print(f"Requests at once: {'unlimited' if concurrent is None else concurrent}.")
