"""Operations with kernels in C++, and random numbers."""
