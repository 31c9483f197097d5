"""Numpy in, numpy out: the only users of numba, edt, cc3d and SimpleITK."""
