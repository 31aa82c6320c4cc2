"""QR codes out of pictures: files, the clipboard, the screen, a camera."""
