"""What `bigcode complete` needs beside the command itself; `infill` shares it."""
