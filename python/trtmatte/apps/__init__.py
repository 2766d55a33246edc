"""Apps over a session: videos, pictures and cameras."""
