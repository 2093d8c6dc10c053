"""What everything else stands on: errors, walking configs, writing and reading files."""
