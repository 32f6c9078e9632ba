// Selection: the n-th smallest of many numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rowbank {

struct Selected {
  std::uint64_t value = 0;
  std::size_t below = 0;  // How many are smaller,
  std::size_t equal = 0;  // and how many are the same, itself included.
};

// The n-th smallest of `values`, counted from 0. REQUIRES: n < values.size().
//
// Problem: quickselect on the numbers of a large table mispredicts a branch at every second number, moves most of them
// several times, and is at its worst where many are equal. Idea: two pivots close to the wanted place, taken from a
// sorted sample (as Floyd and Rivest do), so that one pass counts what is below and between them and copies only the
// few between. A pivot that turns out to be the answer ends the search, however many numbers equal it, and as pivots
// are never copied, every pass makes progress. Limit: the sample is taken at even steps, so numbers in an order that is
// made for it cost more passes; rows come in the order of a hash.
Selected nth_smallest(std::span<const std::uint64_t> values, std::size_t n);

}  // namespace rowbank
