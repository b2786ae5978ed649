"""`bigcode lsp`: a language server for editors."""
