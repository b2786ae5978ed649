"""What `bigcode score` needs beside the command itself."""
