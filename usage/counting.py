"""The tally of this process: whoever has something to count counts it here."""

from usage.core.tally import Tally

tally = Tally()
