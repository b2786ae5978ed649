"""What `bigcode infill` needs beside the command itself."""
