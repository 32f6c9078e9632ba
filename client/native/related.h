// Which items are met by the same people. No Python here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank::client {

// Who met what, from both ends: user u met items[user_starts[u] .. user_starts[u + 1]), item i was met by
// users[item_starts[i] .. item_starts[i + 1]). The same pairs in both, each once.
struct Meetings {
  const std::int64_t* user_starts;
  const std::int64_t* items;
  const std::int64_t* item_starts;
  const std::int64_t* users;
  std::size_t item_count;
};

// The `length` items most related to each of the items first .. first + count.
//
// Problem: the products of all pairs of a million items fit nowhere. Idea: one item at a time; its users' items are
// added up in one number per item of the catalogue, and only those that were touched are looked at and put back to 0.
// Two items are related by the sum, over users who met both, of 1 / (how much the user met), over the square root of
// both items' numbers of users. Of equally related items the lower position is first. An item is not related to itself.
// Costs, per item, as many additions as its users met items, and 8 bytes per item of the catalogue.
//
// out [count, length]: positions, the most related first, -1 where there are fewer.
void most_related(const Meetings& met, std::size_t first, std::size_t count, std::size_t length, std::int64_t* out);

}  // namespace rowbank::client
