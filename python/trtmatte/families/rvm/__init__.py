"""Robust Video Matting: recurrent, lifted to the frame by a guided filter."""
