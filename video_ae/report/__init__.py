"""Results to be looked at: text for a terminal, and pages of one file."""
