// The order of eviction.
#pragma once

#include <cstdint>
#include <limits>

#include "hash.h"
#include "row.h"

namespace rowbank {

enum class Score : std::uint8_t { kFrequency, kLastUsed };

// A row's place in the order of eviction: the lower standing goes first, then the lower lot. No two keys have the same
// lot, so the order is total: any cut through it keeps an exact number of rows and every run makes the same choice.
struct Rank {
  std::uint64_t standing = 0;
  std::uint64_t lot = 0;

  // The score, then last_used. Decayed frequencies count to the precision of the floats that they are stored as.
  static std::uint64_t standing_of(Usage usage, Score score, std::uint32_t now, const FrequencyClock& clock) {
    const std::uint64_t points = score == Score::kFrequency ? clock.aged_bits(usage, now) : usage.last_used;
    return points << 32 | usage.last_used;
  }
  static double score_of(std::uint64_t standing, Score score, const FrequencyClock& clock) {
    const auto points = static_cast<std::uint32_t>(standing >> 32);
    return score == Score::kFrequency ? clock.number_of(points) : points;
  }

  // Rows of equal standing draw lots. The lot must depend on nothing that says where a row is: not on the bucket, or
  // one mass eviction of equal rows would empty some buckets, fill none and make all of those gather their rows; and
  // not on the place in the bucket's index, or a stretch of it would be no random sample any more. The highest bits of
  // this product depend on all bits of the hash, and as the factor is odd, no two hashes have the same product.
  static std::uint64_t lot_of(std::uint64_t hash) { return hash * kGolden; }

  static Rank of(const RowHeader& header, Score score, std::uint32_t now, const FrequencyClock& clock) {
    return {standing_of(header.usage(), score, now, clock), lot_of(header.hash)};
  }
  static Rank highest() {
    return {std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max()};
  }

  // As one number of 128 bits, without a branch: of many rows at a cut, which side one is on cannot be predicted.
  bool operator<(const Rank& other) const { return number() < other.number(); }

 private:
  unsigned __int128 number() const { return static_cast<unsigned __int128>(standing) << 64 | lot; }
};

}  // namespace rowbank
