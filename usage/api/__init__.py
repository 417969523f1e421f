"""The part of the management API that tells what was used and sets what it costs."""
