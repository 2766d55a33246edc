"""The engine file, `*.trtm`, in which the two wings meet."""
