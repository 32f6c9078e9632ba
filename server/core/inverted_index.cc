#include "inverted_index.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "clustering.h"

namespace rowbank {
namespace {

constexpr std::size_t kChunkBlocks = 32;
// How much above its centroid the best item of a list is looked for, in spreads times the query's length. Over lists of
// different width that finds as much in half the lists.
constexpr float kSpreads = 3;
constexpr std::size_t kFirstSorted = 32;  // Lists that are put in order before any is read.
// A vector that is scored alone costs as much as so many of a list; measured at 1 M x 64.
constexpr std::size_t kDirectCost = 12;
// Of so many positions at most one may have a bonus for those to be scored alone.
constexpr std::size_t kBonusShare = 16;

// Up to 32 blocks, with what goes with them.
struct Chunk {
  std::uint32_t blocks[kChunkBlocks];
  std::uint16_t excluded[kChunkBlocks];
  float bonus[kChunkBlocks * kScanBlock];
  std::size_t count = 0;
};

// Scores those with a bonus, if they are few enough; returns whether they were.
bool score_those_with_bonus(TopSearch& query, std::size_t size) {
  std::vector<std::uint32_t> found;
  const float* bonus = query.bonus();
  for (std::size_t position = 0; position < size; ++position) {
    if (bonus[position] == 0 || query.excluded(position)) continue;
    if (found.size() >= size / kBonusShare) return false;
    found.push_back(static_cast<std::uint32_t>(position));
  }
  for (const std::uint32_t position : found) query.score(position);
  return true;
}

// Whether scoring all that are eligible is less work than reading lists until `rows` of them were seen.
bool few(std::size_t eligible, std::size_t size, std::size_t rows) {
  const double read =
      std::min<double>(static_cast<double>(size), static_cast<double>(rows) * static_cast<double>(size) /
                                                      std::max<double>(1, static_cast<double>(eligible)));
  return static_cast<double>(eligible) * kDirectCost <= read;
}

void check_starts(const std::uint32_t* starts, std::size_t lists) {
  if (starts[0] != 0) throw std::invalid_argument("starts must begin with 0, got " + std::to_string(starts[0]));
  for (std::size_t list = 0; list < lists; ++list) {
    if (starts[list] > starts[list + 1]) {
      throw std::invalid_argument("starts must not fall: list " + std::to_string(list) + " has " +
                                  std::to_string(starts[list]) + ", the next one " + std::to_string(starts[list + 1]));
    }
  }
}

void check_widths(const InvertedArrays& arrays) {
  for (std::size_t list = 0; list < arrays.lists; ++list) {
    if (std::isfinite(arrays.radii[list]) && std::isfinite(arrays.spreads[list])) continue;
    throw std::invalid_argument("radius and spread must be finite; those of list " + std::to_string(list) + " are not");
  }
}

// The mean of a list's vectors, their largest distance from it, and the root mean square one, per dimension.
void describe_list(const float* vectors, std::size_t dim, const std::vector<std::uint32_t>& members, float* centroid,
                   float& radius, float& spread) {
  std::vector<double> sum(dim, 0);
  for (const std::uint32_t position : members) {
    const float* row = vectors + static_cast<std::size_t>(position) * dim;
    for (std::size_t i = 0; i < dim; ++i) sum[i] += row[i];
  }
  for (std::size_t i = 0; i < dim; ++i) {
    centroid[i] = static_cast<float>(sum[i] / static_cast<double>(members.size()));
  }
  double largest = 0;
  double all = 0;
  for (const std::uint32_t position : members) {
    const float* row = vectors + static_cast<std::size_t>(position) * dim;
    double squares = 0;
    for (std::size_t i = 0; i < dim; ++i) {
      const double apart = static_cast<double>(row[i]) - centroid[i];
      squares += apart * apart;
    }
    largest = std::max(largest, squares);
    all += squares;
  }
  radius = round_up(std::sqrt(largest));
  spread = static_cast<float>(std::sqrt(all / static_cast<double>(members.size() * dim)));
}

}  // namespace

InvertedLists make_lists(const float* vectors, std::size_t size, std::size_t dim, std::size_t lists, std::uint64_t seed,
                         std::size_t threads) {
  const Clusters clusters = train_clusters(vectors, size, dim, lists, seed, threads);
  const std::vector<std::uint32_t> nearest = assign_clusters(clusters, vectors, size, threads);
  std::vector<std::vector<std::uint32_t>> members(lists);
  for (std::size_t i = 0; i < size; ++i) members[nearest[i]].push_back(static_cast<std::uint32_t>(i));
  InvertedLists out;
  out.starts.push_back(0);
  for (const auto& list : members) {
    if (list.empty()) continue;
    out.positions.insert(out.positions.end(), list.begin(), list.end());
    out.positions.resize(blocks_of(out.positions.size()) * kScanBlock, kNoPosition);
    out.starts.push_back(static_cast<std::uint32_t>(out.positions.size() / kScanBlock));
    out.centroids.resize(out.centroids.size() + dim);
    out.radii.push_back(0);
    out.spreads.push_back(0);
    describe_list(vectors, dim, list, out.centroids.data() + out.centroids.size() - dim, out.radii.back(),
                  out.spreads.back());
  }
  return out;
}

InvertedIndex::InvertedIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                             const InvertedArrays& arrays, const ScanKernel& kernel)
    : size_(size), dim_(dim), kernel_(&kernel), owner_(std::move(owner)), vectors_(vectors), arrays_(arrays) {
  check_vector_shape(size, dim);
  check_starts(arrays.starts, arrays.lists);
  check_widths(arrays);
  centroid_codes_ = encode_vectors(arrays.centroids, dim, nullptr, arrays.lists);
  for (std::size_t block = 0; block < blocks_of(arrays.lists); ++block) {
    centroid_blocks_.push_back(static_cast<std::uint32_t>(block));
  }
}

std::size_t InvertedIndex::bytes() const {
  const std::size_t slots = blocks() * kScanBlock;
  const std::size_t per_slot = 4 * groups() + 3 * sizeof(float) + sizeof(std::uint32_t);
  const std::size_t per_list = dim_ * sizeof(float) + 2 * sizeof(float) + sizeof(std::uint32_t);
  return size_ * dim_ * sizeof(float) + slots * per_slot + lists() * per_list + centroid_codes_.bytes();
}

// Scans blocks of lists. Without `with_bonus` those who have one are passed over: they were scored before. Returns how
// many eligible items were seen.
std::size_t InvertedIndex::scan(std::size_t first_block, std::size_t last_block, bool with_bonus,
                                TopSearch& query) const {
  const bool masked = query.exclude() != nullptr || query.bonus() != nullptr;
  const bool adding = with_bonus && query.bonus() != nullptr;
  std::size_t seen = 0;
  Chunk chunk;
  for (std::size_t first = first_block; first < last_block; first += kChunkBlocks) {
    const std::size_t here = std::min(kChunkBlocks, last_block - first);
    chunk.count = 0;
    for (std::size_t block = first; block < first + here; ++block) {
      unsigned excluded = 0;
      const std::uint32_t* positions = arrays_.positions + block * kScanBlock;
      if (masked || block + 1 == last_block) {
        for (std::size_t i = 0; i < kScanBlock; ++i) {
          const std::uint32_t position = positions[i];
          const bool out = position >= size_ || query.excluded(position) ||
                           (query.bonus() != nullptr && !with_bonus && query.bonus()[position] != 0);
          excluded |= static_cast<unsigned>(out) << i;
          if (adding) chunk.bonus[chunk.count * kScanBlock + i] = out ? 0 : query.bonus()[position];
        }
        if (excluded == 0xFFFF) continue;
      }
      seen += kScanBlock - static_cast<std::size_t>(__builtin_popcount(excluded));
      chunk.blocks[chunk.count] = static_cast<std::uint32_t>(block);
      chunk.excluded[chunk.count++] = static_cast<std::uint16_t>(excluded);
    }
    if (chunk.count == 0) continue;
    std::int32_t dots[kChunkBlocks * kScanBlock];
    std::uint32_t hits[kChunkBlocks * kScanBlock];
    const ItemColumns& items = arrays_.codes.items;
    kernel_->dot(arrays_.codes.codes, chunk.blocks, chunk.count, groups(), query.codes(), dots);
    const ListedBlocks listed{chunk.blocks, chunk.count, chunk.excluded, adding ? chunk.bonus : nullptr};
    const std::size_t count = kernel_->filter(dots, listed, items, query.bounds(), query.threshold(), hits);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t at = hits[i];
      const std::size_t slot = static_cast<std::size_t>(chunk.blocks[at / kScanBlock]) * kScanBlock + at % kScanBlock;
      const std::uint32_t position = arrays_.positions[slot];
      if (position >= size_) continue;
      const ScoreRange range =
          adding ? score_range(dots[at], items.scale[slot], items.error[slot], items.norm[slot], query.bounds(),
                               chunk.bonus[at])
                 : score_range(dots[at], items.scale[slot], items.error[slot], items.norm[slot], query.bounds());
      if (range.upper >= query.threshold()) query.offer(position, range);
    }
  }
  return seen;
}

// The lists of one search, those that promise most first, as far as they are put in order.
struct InvertedIndex::Order {
  std::vector<std::uint64_t> keys;  // Smallest first: what a list promises, then its number in the lower half.
  std::vector<float> upper;         // By list: what no item's score exceeds.
  std::size_t sorted = 0;

  std::uint32_t list(std::size_t place) const { return static_cast<std::uint32_t>(keys[place]); }

  void add(std::uint32_t list, float promise, float bound) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &promise, 4);
    // Bits that fall where numbers rise.
    const std::uint32_t falling = (bits >> 31) != 0 ? bits : ~bits & 0x7FFFFFFF;
    keys.push_back(static_cast<std::uint64_t>(falling) << 32 | list);
    upper.push_back(bound);
  }

  // Drops the lists beyond `sorted` that hold nobody of such a score and puts so many of the others, or more, in order.
  void sort_more(std::size_t count, float threshold) {
    std::size_t kept = sorted;
    for (std::size_t i = sorted; i < keys.size(); ++i) {
      keys[kept] = keys[i];
      kept += upper[list(i)] >= threshold ? 1 : 0;
    }
    keys.resize(kept);
    const std::size_t here = std::min(count, keys.size() - sorted);
    const auto first = keys.begin() + static_cast<std::ptrdiff_t>(sorted);
    const std::size_t split = here < keys.size() - sorted ? split_off(here) : here;
    std::sort(first, first + static_cast<std::ptrdiff_t>(split));
    sorted += split;
  }

  // Puts the smallest keys beyond `sorted` in front of the others, at least `count`. Returns how many. A pivot from a
  // few keys and one pass without branches are several times faster than std::nth_element.
  std::size_t split_off(std::size_t count) {
    constexpr std::size_t kSample = 64;
    const std::size_t left = keys.size() - sorted;
    const auto first = keys.begin() + static_cast<std::ptrdiff_t>(sorted);
    const std::size_t rank = count * kSample * 3 / 2 / left + 2;
    if (rank < kSample) {
      std::uint64_t sample[kSample];
      for (std::size_t i = 0; i < kSample; ++i) sample[i] = keys[sorted + i * left / kSample];
      std::nth_element(sample, sample + rank, sample + kSample);
      std::vector<std::uint64_t> others(left);
      std::size_t small = 0;
      std::size_t large = 0;
      for (std::size_t i = sorted; i < keys.size(); ++i) {
        const std::uint64_t key = keys[i];
        const bool low = key <= sample[rank];
        keys[sorted + small] = key;
        others[large] = key;
        small += low ? 1 : 0;
        large += low ? 0 : 1;
      }
      std::copy(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(large),
                first + static_cast<std::ptrdiff_t>(small));
      if (small >= count) return small;
    }
    std::nth_element(first, first + static_cast<std::ptrdiff_t>(count), keys.end());
    return count;
  }
};

void InvertedIndex::probe(TopSearch& query, const ProbeRule& rule) const {
  Order order;
  const std::size_t padded = centroid_blocks_.size() * kScanBlock;
  std::vector<std::int32_t> dots(padded);
  order.keys.reserve(lists());
  order.upper.reserve(lists());
  kernel_->dot(centroid_codes_.codes.data(), centroid_blocks_.data(), centroid_blocks_.size(), groups(), query.codes(),
               dots.data());
  const ItemColumns columns = centroid_codes_.arrays().items;
  for (std::size_t list = 0; list < lists(); ++list) {
    const ScoreRange range =
        score_range(dots[list], columns.scale[list], columns.error[list], columns.norm[list], query.bounds());
    const float reach = kSpreads * arrays_.spreads[list] * query.bounds().error_gain;
    const float promise = static_cast<float>(dots[list]) * (columns.scale[list] * query.bounds().scale) + reach;
    order.add(static_cast<std::uint32_t>(list), promise, range.upper + arrays_.radii[list] * query.bounds().error_gain);
  }
  const double share = static_cast<double>(query.eligible()) / static_cast<double>(size_);
  double seen = 0;
  for (std::size_t taken = 0;; ++taken) {
    if (taken >= rule.lists && seen >= static_cast<double>(rule.rows)) return;
    if (taken == order.sorted) {
      order.sort_more(std::max(kFirstSorted, 3 * taken), query.threshold());
      if (taken == order.sorted) return;  // No other list can hold any of the best.
    }
    const std::uint32_t list = order.list(taken);
    const std::uint32_t first = arrays_.starts[list];
    const std::uint32_t last = arrays_.starts[list + 1];
    if (order.upper[list] < query.threshold()) {
      seen += share * static_cast<double>((last - first) * kScanBlock);
    } else {
      seen += static_cast<double>(scan(first, last, false, query));
    }
  }
}

void InvertedIndex::search(const SearchRequest& request, const ProbeRule& rule, std::int64_t* positions,
                           float* scores) const {
  check_bonus(request, size_);
  const ScoredVectors items{vectors_, size_, dim_};
  const ProbeRule kept{rule.lists, std::max(rule.rows, request.k)};
  std::vector<TopSearch> queries;
  queries.reserve(request.count);
  for (std::size_t i = 0; i < request.count; ++i) queries.emplace_back(request, i, items, *kernel_);
  std::vector<TopSearch*> whole;  // Those for which everything is read.
  for (TopSearch& query : queries) {
    if (request.k == 0 || size_ == 0) continue;
    if (query.exclude() != nullptr && few(query.eligible(), size_, kept.rows)) {
      query.score_eligible();
    } else if (rule.lists >= lists() || (query.bonus() != nullptr && !score_those_with_bonus(query, size_))) {
      whole.push_back(&query);
    } else {
      probe(query, kept);
    }
  }
  const std::size_t all = whole.empty() ? 0 : blocks();
  for (std::size_t first = 0; first < all; first += kChunkBlocks) {
    const std::size_t last = std::min(all, first + kChunkBlocks);
    for (TopSearch* query : whole) scan(first, last, true, *query);
  }
  const std::size_t k = request.k;
  for (std::size_t i = 0; i < request.count; ++i) queries[i].finish(k, positions + i * k, scores + i * k);
}

}  // namespace rowbank
