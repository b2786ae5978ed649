"""`bigcode corpus`: the jobs of score, classify, tag, complete and infill over data sets."""
