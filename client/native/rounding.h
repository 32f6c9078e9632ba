// Rounds float32 to 16 bits at random, so that the mean of many roundings is the value itself. No Python here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank::client {

// Problem: rounded to nearest, gradients that are small beside their neighbours in float16 or bfloat16 are lost, always
// in the same direction. Idea: up with a probability of how far the value is from the lower neighbour, to 1 in 2^13 in
// float16 and 1 in 2^16 in bfloat16, which is exactly what is cut off; in 2^17 of the smallest float16's where float16
// is subnormal. A value that the type holds stays what it is. What would become infinite becomes the largest number.
// The random numbers are a hash of seed and place: one seed, one result, on every machine, and loops that the compiler
// makes vectors of. Limit: not for anything but rounding; a hash of two rounds is no good generator.
// REQUIRES: values are finite.
void float_to_half_at_random(const float* in, std::uint16_t* out, std::size_t count, std::uint64_t seed);
void float_to_bfloat_at_random(const float* in, std::uint16_t* out, std::size_t count, std::uint64_t seed);

}  // namespace rowbank::client
