"""What a run leaves to look at: results, tables, plots and files. Reads, never decides."""
