"""What is made of a finished run when somebody asks: magnitudes, tables, pictures.

Everything here is a function of the run alone; nothing is part of its key.
"""
