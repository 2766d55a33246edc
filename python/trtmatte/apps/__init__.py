"""What people do with a session: mat videos, pictures and cameras."""
