"""Reports for people: about files, machines, errors and times."""
