"""Real managers and monitors joined in memory: every message really encoded, every transaction judged."""
