"""What a run looks like: plots, and pages made of them."""
