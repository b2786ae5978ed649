"""What `bigcode classify` needs beside the command itself."""
