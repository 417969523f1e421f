"""What the tests of the control plane's rows share."""

import pytest

from keys.invalidation import CHANNEL


@pytest.fixture
def heard(valkey, django_capture_on_commit_callbacks):
    """Runs a change and returns what gateways hear of it."""

    def run(change) -> list[str]:
        with valkey.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(CHANNEL)
            pubsub.get_message(ignore_subscribe_messages=False, timeout=5)
            with django_capture_on_commit_callbacks(execute=True):
                change()
            valkey.publish(CHANNEL, "end of test")
            messages = iter(lambda: pubsub.get_message(timeout=5)["data"].decode(), "end of test")
            return list(messages)

    return run
