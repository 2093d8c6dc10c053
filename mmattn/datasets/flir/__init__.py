"""FLIR ADAS v2, thermal images of roads."""
