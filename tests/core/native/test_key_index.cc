#include <random>
#include <unordered_map>
#include <vector>

#include "check.h"
#include "hash.h"
#include "key_index.h"

namespace rowbank {
namespace {

// Rows are named by their key, so the index can be checked against a plain map.
RowRef find(const KeyIndex& index, RowRef key) {
  return index.find(hash_key(key));
}

TEST(key_index, empty_finds_nothing) {
  const KeyIndex index;
  CHECK(index.full());
  CHECK_EQ(find(index, 1), kNoRow);
}

TEST(key_index, full_to_its_limit_then_erased_in_any_order) {
  std::mt19937_64 random(11);
  for (const std::size_t room : {3U, 9U, 900U, 9000U}) {
    KeyIndex index = KeyIndex::with_room_for(room - 1);
    std::vector<RowRef> keys;
    while (!index.full()) {
      keys.push_back(static_cast<RowRef>(random() >> 33));
      index.insert(hash_key(keys.back()), keys.back());
    }
    for (const RowRef key : keys) {
      CHECK_EQ(find(index, key), key);
    }
    std::shuffle(keys.begin(), keys.end(), random);
    while (!keys.empty()) {
      index.erase(hash_key(keys.back()), keys.back());
      CHECK_EQ(find(index, keys.back()), kNoRow);
      keys.pop_back();
      for (std::size_t i = 0; i < keys.size(); i += 1 + keys.size() / 16) {
        CHECK_EQ(find(index, keys[i]), keys[i]);
      }
    }
    CHECK_EQ(index.size(), 0U);
  }
}

// All keys want the same group: the overflow counts must lead to every one of them, also after others were erased.
TEST(key_index, crowded_group) {
  KeyIndex index = KeyIndex::with_room_for(89);
  const auto hash_of = [](RowRef key) { return std::uint64_t{key} << 32; };  // One home.
  for (RowRef key = 0; key < 60; ++key) {
    index.insert(hash_of(key), key);
  }
  for (RowRef key = 0; key < 60; ++key) {
    CHECK_EQ(index.find(hash_of(key)), key);
  }
  for (RowRef key = 0; key < 30; ++key) {
    index.erase(hash_of(key), key);
  }
  for (RowRef key = 0; key < 60; ++key) {
    CHECK_EQ(index.find(hash_of(key)), key < 30 ? kNoRow : key);
  }
  std::size_t seen = 0;
  index.for_each([&](RowRef ref) {
    CHECK(ref >= 30 && ref < 60);
    ++seen;
  });
  CHECK_EQ(seen, 30U);
}

// Hashes that differ in one bit only are other keys, wherever the bit is; so are those that were erased.
TEST(key_index, neighbours_are_other_keys) {
  const std::uint64_t hash = 0x123456789ABCDEF0ULL;
  KeyIndex index = KeyIndex::with_room_for(2);  // One group.
  index.insert(hash, 7);
  for (std::uint32_t bit = 0; bit < 64; ++bit) {
    const std::uint64_t other = hash ^ (std::uint64_t{1} << bit);
    CHECK_EQ(index.find(other), kNoRow);
    index.insert(other, bit + 8);
    CHECK_EQ(index.find(other), bit + 8);
    CHECK_EQ(index.find(hash), 7U);
    index.erase(other, bit + 8);
    CHECK_EQ(index.find(other), kNoRow);
  }
  CHECK_EQ(index.find(0), kNoRow);  // As free places have it.
  index.insert(0, 3);
  CHECK_EQ(index.find(0), 3U);
}

// A key that comes again takes the first free place, while its hash is still to be read in the one that it left.
TEST(key_index, erased_key_that_comes_again) {
  KeyIndex index = KeyIndex::with_room_for(2);
  const auto hash_of = [](RowRef key) { return std::uint64_t{key} << 32; };
  for (RowRef key = 0; key < 3; ++key) {
    index.insert(hash_of(key), key);
  }
  index.erase(hash_of(2), 2);
  index.erase(hash_of(0), 0);
  index.insert(hash_of(2), 5);
  CHECK_EQ(index.find(hash_of(2)), 5U);
  CHECK_EQ(index.find(hash_of(1)), 1U);
  CHECK_EQ(index.find(hash_of(0)), kNoRow);
}

TEST(key_index, lookups_end_after_churn) {
  KeyIndex index = KeyIndex::with_room_for(100);
  for (RowRef round = 0; round < 10000; ++round) {  // No tombstones pile up: overflow counts go back to zero.
    index.insert(hash_key(round), round);
    if (round >= 90) {
      index.erase(hash_key(round - 90), round - 90);
    }
  }
  CHECK_EQ(index.size(), 90U);
  CHECK_EQ(find(index, 3), kNoRow);
  CHECK_EQ(find(index, 9999), 9999U);
}

}  // namespace
}  // namespace rowbank
