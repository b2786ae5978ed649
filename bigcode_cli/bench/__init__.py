"""What `bigcode bench` needs beside the command itself."""
