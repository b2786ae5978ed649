"""`bigcode serve`: keeps models in memory and answers editors and this tool itself."""
