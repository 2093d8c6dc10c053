"""What a trained model does wrong: one pass over a split, then tables and pictures."""
