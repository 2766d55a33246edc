"""What runs network stages. A backend is imported when it is asked for, and with it the library that it drives."""
