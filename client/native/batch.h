// Batches of keys and rows as a client gathers them before it sends them. No Python here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank::client {

// Finds the distinct keys of a batch, in the order of their first occurrence.
//
// Problem: layers send the keys of a batch as they come, and each key is to cross the network once. Idea: open
// addressing on a table of places that lives in the first caches for batches of thousands; one pass, where sorting
// needs two and the way back a third. At most a quarter of the table is full: a branch that the CPU guesses wrong costs
// more than the room, and at half full the pass takes twice as long. Keys are mixed first, so that patterned ones
// (multiples of powers of two) do not share places. Limit: batches of many millions leave the caches, and then a sort
// is as fast.
//
// Writes: distinct [U], inverse [count] (the place of each key in `distinct`), occurrences [U]. Returns U.
// REQUIRES: count < 2^31; the arrays have room for `count`.
std::size_t find_distinct(const std::int64_t* keys, std::size_t count, std::int64_t* distinct, std::uint32_t* inverse,
                          std::uint32_t* occurrences);

// Whether `inverse` [count] is one that find_distinct wrote for `distinct_count` keys: places in first-occurrence
// order.
bool is_inverse(const std::uint32_t* inverse, std::size_t count, std::size_t distinct_count);

// rows [count, dim] -> sums [U, dim] per distinct key, each added in the order given. REQUIRES: is_inverse.
void sum_rows(const float* rows, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* sums);

// rows [U, dim] per distinct key -> out [count, dim] per key of the batch. REQUIRES: every place is below U.
void expand_rows(const float* rows, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out);

// Whether this CPU converts float16 itself; the two below are only to be called if it does.
bool converts_half();

// rows [count, 4 + dim]: a float32 and dim int8 each -> out [count, dim], each int8 times its row's float32.
void int8_to_float(const std::uint8_t* rows, float* out, std::size_t count, std::size_t dim);

void half_to_float(const std::uint16_t* in, float* out, std::size_t count);  // Exact.
void float_to_half(const float* in, std::uint16_t* out, std::size_t count);  // To nearest, ties to even.

}  // namespace rowbank::client
