"""Judged outcomes as rows and tables: of programs, of files, of the history."""
