"""One run: a config becomes a plan, the loop trains it, and what it yields is written, judged and resumed."""
