"""From searches to training examples: candidates, negatives, consistency."""
