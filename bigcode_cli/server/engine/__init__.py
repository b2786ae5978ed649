"""What computes for one loaded model: its thread, and what it keeps of prompts."""
