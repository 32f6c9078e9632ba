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
  return index.find(hash_key(key), [key](RowRef ref) { return ref == key; });
}

TEST(key_index, empty_finds_nothing) {
  const KeyIndex index;
  CHECK(index.full());
  CHECK_EQ(find(index, 1), kNoRow);
  CHECK_EQ(index.candidate(hash_key(1)), kNoRow);
}

TEST(key_index, full_to_its_limit_then_erased_in_any_order) {
  std::mt19937_64 random(11);
  for (const std::size_t room : {9U, 27U, 900U, 9000U}) {
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
  std::vector<RowRef> keys;
  for (RowRef key = 0; keys.size() < 60; ++key) {
    keys.push_back(key);
    index.insert(std::uint64_t{key & 1U}, key);  // Two tags (0 and 1 are one tag), one home.
  }
  const auto find_here = [&](RowRef key) { return index.find(key & 1U, [key](RowRef ref) { return ref == key; }); };
  for (const RowRef key : keys) {
    CHECK_EQ(find_here(key), key);
  }
  for (RowRef key = 0; key < 30; ++key) {
    index.erase(key & 1U, key);
  }
  for (RowRef key = 0; key < 60; ++key) {
    CHECK_EQ(find_here(key), key < 30 ? kNoRow : key);
  }
  std::size_t seen = 0;
  index.for_each([&](RowRef ref) {
    CHECK(ref >= 30 && ref < 60);
    ++seen;
  });
  CHECK_EQ(seen, 30U);
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
