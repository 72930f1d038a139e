"""How good a bundle is: one file a job, functions of a bundle and plain arrays that return results."""
