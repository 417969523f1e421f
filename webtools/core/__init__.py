"""Pure decisions of web tools: what may be asked, what it costs, how long an answer may be."""
