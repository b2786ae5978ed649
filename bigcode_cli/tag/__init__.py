"""What `bigcode tag` needs beside the command itself."""
