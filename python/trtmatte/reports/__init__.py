"""What people are told: about files, machines, errors and times."""
