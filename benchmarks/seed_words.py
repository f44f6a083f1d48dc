"""Words and tags in seeded jobs."""

TAGS = ["baseline", "tuned", "paper", "debug", "nightly", "large", "ablation", "v2"]
WORDS = ["urban", "rural", "coast", "night", "winter", "dense", "sparse", "moving", "indoor"]
# Of one job in RARE_EVERY.
RARE_TAG, RARE_WORD = "frozen", "lighthouse"
RARE_EVERY = 9973
